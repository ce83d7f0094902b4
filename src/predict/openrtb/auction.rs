//! A bid request that was read → its impressions with their candidates, ready for the scorer, and the best bid of each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::ads::{Ad, Ads, Size};
use super::eligible::{Eligible, NoBid, eligible};
use super::extract::{Found, Paths, at, derived};
use super::mapping::{Chosen, Mapping, Source};
use super::money::{DEFAULT, Offer, Rates};
use super::request::{BidRequest, Imp, Malformed};
use super::settings::OpenRtbSettings;
use crate::error::{Error, Result};
use crate::model::features::hash::Fingerprint;
use crate::model::row::Cell;
use crate::predict::LiveModel;
use crate::predict::fields::Reader;
use crate::predict::scorer::Scored;

/// What bids: mapping, ads and money.
#[derive(Debug)]
pub struct Bidder {
    mapping: Mapping,
    paths: Paths,
    ads: Ads,
    rates: Rates,
    settings: OpenRtbSettings,
    /// Mapping and ads by the columns of the schema that was last served.
    bound: ArcSwapOption<Bound>,
}

/// Mapping and ads by the columns of one schema.
#[derive(Debug)]
struct Bound {
    schema: Fingerprint,
    /// For each field of the mapping: its column, and what is between the values of a bag.
    fields: Vec<Option<(usize, Option<u8>)>>,
    /// For each ad: its columns and their text.
    ads: Vec<Vec<(usize, Box<str>)>>,
}

impl Bidder {
    /// Reads mapping and ads; `None` when the settings have none.
    ///
    /// # Errors
    /// Io when a file cannot be read; config when it is wrong or does not fit the schema of `model`.
    pub fn open(settings: &OpenRtbSettings, model: &LiveModel) -> Result<Option<Bidder>> {
        let (Some(mapping), Some(ads)) = (&settings.mapping, &settings.ads) else { return Ok(None) };
        let rates = Rates::new(&settings.currency, &settings.rates)?;
        let text = std::fs::read_to_string(mapping).map_err(Error::io(mapping, "read"))?;
        let place = mapping.display().to_string();
        let bidder = Bidder::new(Mapping::parse(&text, &place)?, Ads::read(ads, &rates)?, rates, settings.clone());
        bidder.check(model, mapping, ads)?;
        Ok(Some(bidder))
    }

    /// A bidder of parts.
    pub fn new(mapping: Mapping, ads: Ads, rates: Rates, settings: OpenRtbSettings) -> Bidder {
        let paths = Paths::new(&mapping);
        Bidder { mapping, paths, ads, rates, settings, bound: ArcSwapOption::empty() }
    }

    /// Its settings.
    pub fn settings(&self) -> &OpenRtbSettings {
        &self.settings
    }

    /// Whether every field of mapping and ads is a column of the model's schema.
    fn check(&self, model: &LiveModel, mapping: &Path, ads: &Path) -> Result<()> {
        let schema = &model.bundle.schema;
        let unknown = |file: &Path, place: String, name: &String| {
            let hint = model.fields.hint(name, schema);
            let message = format!("schema {} has no field {name:?}{hint}", schema.name);
            Error::config(file.display().to_string(), place, message)
        };
        if let Some(name) = self.mapping.fields.keys().find(|name| model.fields.position(name).is_none()) {
            return Err(unknown(mapping, format!("fields.{name}"), name));
        }
        for ad in &self.ads.ads {
            if let Some(name) = ad.features.keys().find(|name| model.fields.position(name).is_none()) {
                return Err(unknown(ads, format!("ad {}: features", ad.id), name));
            }
        }
        Ok(())
    }

    /// Goes through a request's impressions. `body` is what `request` was read from, `now` is in seconds since 1970, and at
    /// most `most` candidates are kept for each impression, those whose click is worth most.
    ///
    /// # Errors
    /// When a key that the mapping reads stands twice.
    pub fn auction<'a>(
        &'a self,
        request: &'a BidRequest<'a>,
        body: &'a [u8],
        model: &LiveModel,
        now: i64,
        most: usize,
    ) -> std::result::Result<Auction<'a>, Malformed> {
        let body =
            std::str::from_utf8(body).map_err(|error| Malformed::new(super::Problem::Json, "", error.to_string()))?;
        let currency = self.currency(request);
        let bound = self.bound(model);
        let local = now + 60 * request.utc_offset_minutes();
        let (of_request, of_impressions) = self.paths.find(body, request.imp.len())?;
        let mut impressions = Vec::new();
        let mut reason = None;
        for (imp, found) in request.imp.iter().zip(&of_impressions) {
            let candidates = match currency {
                Some(_) => eligible(request, imp, &self.ads, self.settings.seat.as_deref()),
                None => Err(NoBid::Currency),
            };
            match candidates {
                Ok(mut candidates) => {
                    if candidates.len() > most {
                        let value = |place: &Eligible| -self.worth_of_click(&self.ads.ads[place.ad], self.rates.base());
                        candidates.sort_by(|a, b| value(a).total_cmp(&value(b)));
                        candidates.truncate(most);
                    }
                    let (context, sized) = self.context(found, &of_request, &bound, local);
                    impressions.push(Impression {
                        bidder: self,
                        bound: bound.clone(),
                        imp,
                        candidates,
                        context,
                        sized,
                    });
                }
                Err(refused) => reason = reason.max(Some(refused)),
            }
        }
        let currency = currency.unwrap_or(DEFAULT);
        Ok(Auction { impressions, reason: reason.unwrap_or(NoBid::Size), currency, at: request.at.unwrap_or(2) })
    }

    /// The currency to bid in: the first allowed one whose worth is known. Where none is told the exchange's is USD.
    fn currency<'a>(&'a self, request: &'a BidRequest<'a>) -> Option<&'a str> {
        match request.cur.as_deref() {
            Some(allowed) if !allowed.is_empty() => {
                allowed.iter().map(|currency| &**currency).find(|currency| self.rates.knows(currency))
            }
            _ => Some(if self.rates.knows(DEFAULT) { DEFAULT } else { self.rates.base() }),
        }
    }

    fn worth_of_click(&self, ad: &Ad, currency: &str) -> f64 {
        let from = ad.currency.as_deref().unwrap_or(self.rates.base());
        self.rates.convert(ad.value, from, currency).unwrap_or(0.0)
    }

    /// The columns of the model's schema: looked up once, and again when a model of another schema serves.
    fn bound(&self, model: &LiveModel) -> Arc<Bound> {
        let schema = model.bundle.manifest.schema_fingerprint;
        if let Some(bound) = self.bound.load_full().filter(|bound| bound.schema == schema) {
            return bound;
        }
        let column = |name: &String| {
            let position = model.fields.position(name)?;
            match model.fields.column(position).reader {
                Reader::Nothing => None,
                Reader::Single => Some((position, None)),
                Reader::Bag { separator } => Some((position, Some(separator))),
            }
        };
        let fields = self.mapping.fields.keys().map(column).collect();
        let of_ad = |ad: &Ad| {
            let cells = ad.features.iter().filter_map(|(name, feature)| {
                let (position, separator) = column(name)?;
                Some((position, feature.cell(separator)?.into_boxed_str()))
            });
            cells.collect()
        };
        let bound = Arc::new(Bound { schema, fields, ads: self.ads.ads.iter().map(of_ad).collect() });
        self.bound.store(Some(bound.clone()));
        bound
    }

    /// An impression's cells by column, and the columns that take the size of the candidate.
    fn context<'a>(
        &'a self,
        found: &Found<'a>,
        of_request: &Found<'a>,
        bound: &Bound,
        local: i64,
    ) -> (Vec<(usize, Cow<'a, str>)>, Vec<usize>) {
        let (mut context, mut sized) = (Vec::new(), Vec::new());
        for (place, (rule, column)) in self.mapping.fields.values().zip(&bound.fields).enumerate() {
            let Some((column, separator)) = *column else { continue };
            let value = match &rule.source {
                Source::Chosen(Chosen::Size) => {
                    sized.push(column);
                    continue;
                }
                Source::Clock(clock) => Some(rule.value(Cow::Owned(at(local, *clock)))),
                Source::Paths(_, derive) => {
                    let values = found.first(&self.paths.of_field[place], of_request);
                    let mut texts = values.into_iter().flat_map(|value| items(value, separator.is_some()));
                    match separator {
                        None => texts.find_map(|value| derived(value, *derive)).map(|text| rule.value(text)),
                        Some(separator) => {
                            let texts = texts.filter_map(|value| derived(value, *derive)).map(|text| rule.value(text));
                            joined(texts, char::from(separator))
                        }
                    }
                }
            };
            let value = value.or_else(|| rule.default.as_deref().map(Cow::Borrowed)).filter(|text| !text.is_empty());
            context.extend(value.map(|value| (column, value)));
        }
        (context, sized)
    }
}

/// The items of a list where a bag takes them; else the value itself.
fn items(value: &serde_json::value::RawValue, apart: bool) -> Vec<&serde_json::value::RawValue> {
    let list = apart.then(|| serde_json::from_str(value.get()).ok()).flatten();
    list.unwrap_or_else(|| vec![value])
}

/// Values with a separator between; values that contain it are left out.
fn joined<'a>(values: impl Iterator<Item = Cow<'a, str>>, separator: char) -> Option<Cow<'a, str>> {
    let mut values = values.filter(|value| !value.is_empty() && !value.contains(separator));
    let mut all = values.next()?;
    for value in values {
        let all = all.to_mut();
        all.push(separator);
        all.push_str(&value);
    }
    Some(all)
}

/// A bid request on its way to bids.
#[derive(Debug)]
pub struct Auction<'a> {
    /// Impressions that some ad may fill.
    pub impressions: Vec<Impression<'a>>,
    /// Why there is no bid when none is won from them.
    pub reason: NoBid,
    pub(super) currency: &'a str,
    at: u32,
}

/// An impression and its candidates.
#[derive(Debug)]
pub struct Impression<'a> {
    bidder: &'a Bidder,
    bound: Arc<Bound>,
    imp: &'a Imp<'a>,
    candidates: Vec<Eligible>,
    context: Vec<(usize, Cow<'a, str>)>,
    sized: Vec<usize>,
}

/// The bid for an impression.
#[derive(Debug)]
pub(super) struct Bid<'a> {
    pub(super) imp: &'a Imp<'a>,
    pub(super) ad: &'a Ad,
    pub(super) size: Size,
    /// Identity of the deal.
    pub(super) deal: Option<&'a str>,
    /// CPM.
    pub(super) price: f64,
    pub(super) scored: Scored,
}

impl<'a> Impression<'a> {
    /// Cells that all its candidates share, by column, as the scorer takes them.
    pub fn context(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        self.context.iter().map(|(column, text)| (*column, Cell::Text(text.as_bytes())))
    }

    /// Each candidate's own cells, by column.
    pub fn candidates(&self) -> impl ExactSizeIterator<Item = impl Iterator<Item = (usize, Cell<'_>)>> {
        self.candidates.iter().map(|candidate| {
            let size = self.bidder.ads.ads[candidate.ad].size_text(candidate.size);
            let sized = self.sized.iter().map(|column| (*column, Cell::Text(size.as_bytes())));
            let own = self.bound.ads[candidate.ad].iter();
            sized.chain(own.map(|(column, text)| (*column, Cell::Text(text.as_bytes()))))
        })
    }

    /// The candidate with the highest price; `None` when all are below their floor. Of equal prices the first wins.
    fn best(&self, scored: &[Scored], currency: &str, at: u32) -> Option<Bid<'a>> {
        let bidder = self.bidder;
        let rates = &bidder.rates;
        let mut best: Option<Bid<'a>> = None;
        for (candidate, scored) in self.candidates.iter().zip(scored) {
            let ad = &bidder.ads.ads[candidate.ad];
            let deals = self.imp.pmp.as_ref().and_then(|pmp| pmp.deals.as_deref()).unwrap_or_default();
            let deal = candidate.deal.map(|place| &deals[place]);
            let (floor, floor_currency) = match deal {
                Some(deal) => (deal.bidfloor, deal.bidfloorcur.as_deref()),
                None => (self.imp.bidfloor, self.imp.bidfloorcur.as_deref()),
            };
            // A floor in a currency of unknown worth cannot be kept.
            let floor = match floor.unwrap_or(0.0) {
                0.0 => Some(0.0),
                floor => rates.convert(floor, floor_currency.unwrap_or(DEFAULT), currency),
            };
            let own = rates.convert(ad.floor, ad.currency.as_deref().unwrap_or(rates.base()), currency);
            let (Some(floor), Some(own)) = (floor, own) else { continue };
            let offer = Offer {
                worth: scored.probability * bidder.worth_of_click(ad, currency) * 1000.0,
                floor,
                at: deal.and_then(|deal| deal.at).unwrap_or(at),
                first_price_share: bidder.settings.first_price_share,
            };
            let Some(price) = offer.price().filter(|price| *price >= own) else { continue };
            if best.as_ref().is_none_or(|best| price > best.price) {
                let deal = deal.map(|deal| &*deal.id);
                best = Some(Bid { imp: self.imp, ad, size: candidate.size, deal, price, scored: *scored });
            }
        }
        best
    }
}

impl<'a> Auction<'a> {
    /// The bids, once every impression is scored; an empty list is a no-bid for [`Auction::reason`].
    pub(super) fn bids(&mut self, scored: &[Vec<Scored>]) -> Vec<Bid<'a>> {
        let impressions = self.impressions.iter().zip(scored);
        let bids: Vec<Bid<'a>> =
            impressions.filter_map(|(impression, scored)| impression.best(scored, self.currency, self.at)).collect();
        if bids.is_empty() && !self.impressions.is_empty() {
            self.reason = NoBid::Floor;
        }
        bids
    }

    /// Candidates of all impressions by ad, for tests and people.
    pub fn considered(&self) -> HashMap<&'a str, Vec<&'a str>> {
        let bidder = |impression: &Impression<'a>| impression.bidder;
        let of = |impression: &Impression<'a>| {
            impression.candidates.iter().map(|candidate| bidder(impression).ads.ads[candidate.ad].id.as_str()).collect()
        };
        self.impressions.iter().map(|impression| (&*impression.imp.id, of(impression))).collect()
    }
}
