//! An impression and the ads → those that may fill it, and why the others may not.

use super::ads::{Ad, Ads, Size};
use super::request::{BidRequest, Deal, Imp};
use crate::predict::json::Text;

/// Why there is no bid. Ordered: of several reasons, the one that came furthest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoBid {
    /// The time that the exchange waits is shorter than the margin.
    Time,
    /// Our seat may not bid, or others only.
    Seat,
    /// No currency that the auction allows has a rate.
    Currency,
    /// It is no banner.
    Media,
    /// No ad has a size that fits.
    Size,
    /// Only deals may be bid on, and no ad has one.
    Deal,
    /// The advertised app is blocked.
    App,
    /// The advertiser's domain is blocked.
    Domain,
    /// A category is blocked or not among the allowed, or the request's taxonomy is another one.
    Category,
    /// A creative attribute is blocked.
    Attribute,
    /// It must load over HTTPS.
    Secure,
    /// What the impression is worth is below the floor.
    Floor,
}

impl NoBid {
    /// All reasons.
    pub const ALL: [NoBid; 12] = [
        NoBid::Time,
        NoBid::Seat,
        NoBid::Currency,
        NoBid::Media,
        NoBid::Size,
        NoBid::Deal,
        NoBid::App,
        NoBid::Domain,
        NoBid::Category,
        NoBid::Attribute,
        NoBid::Secure,
        NoBid::Floor,
    ];

    /// As headers and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            NoBid::Time => "time",
            NoBid::Seat => "seat",
            NoBid::Currency => "currency",
            NoBid::Media => "media",
            NoBid::Size => "size",
            NoBid::Deal => "deal",
            NoBid::App => "app",
            NoBid::Domain => "domain",
            NoBid::Category => "category",
            NoBid::Attribute => "attribute",
            NoBid::Secure => "secure",
            NoBid::Floor => "floor",
        }
    }

    /// As `nbr` (OpenRTB 3.0, List: No-Bid Reason Codes): 15 is insufficient auction time; the others have no code of the
    /// list and are our own, from 500 on.
    pub fn code(self) -> u32 {
        match self {
            NoBid::Time => 15,
            other => 500 + other as u32,
        }
    }
}

/// An ad that may fill an impression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Eligible {
    /// Its place in the ads.
    pub(super) ad: usize,
    /// In this size.
    pub(super) size: Size,
    /// Under the deal at this place of the impression's.
    pub(super) deal: Option<usize>,
}

/// The ads that may fill `imp`, each once and in its first size that fits.
///
/// # Errors
/// When there is none, the reason that came furthest.
pub(super) fn eligible(
    request: &BidRequest<'_>,
    imp: &Imp<'_>,
    ads: &Ads,
    seat: Option<&str>,
) -> Result<Vec<Eligible>, NoBid> {
    if !seat_may_bid(request, seat) {
        return Err(NoBid::Seat);
    }
    let Some(banner) = &imp.banner else {
        return Err(if imp.is_other_media() { NoBid::Media } else { NoBid::Size });
    };
    let formats = banner.format.iter().flatten().map(|format| (format.w, format.h));
    // Exact width and height count where there is no format (3.2.6).
    let own = Some((banner.w, banner.h)).filter(|_| banner.format.as_ref().is_none_or(Vec::is_empty));
    let mut reason = NoBid::Size;
    let mut found: Vec<Eligible> = Vec::new();
    let mut seen = Vec::new();
    for size in formats.chain(own).filter_map(|(w, h)| Some(Size { w: w?, h: h? })) {
        if seen.contains(&size) {
            continue;
        }
        for place in ads.of_size(size) {
            let ad = &ads.ads[*place];
            if ad.sizes.iter().any(|earlier| *earlier != size && seen.contains(earlier)) {
                continue;
            }
            match terms(request, imp, &banner.battr, ad, ads.cattax, seat) {
                Ok(deal) => found.push(Eligible { ad: *place, size, deal }),
                Err(refused) => reason = reason.max(refused),
            }
        }
        seen.push(size);
    }
    if found.is_empty() { Err(reason) } else { Ok(found) }
}

/// Whether one ad may be bid, and under which deal.
fn terms(
    request: &BidRequest<'_>,
    imp: &Imp<'_>,
    battr: &Option<Vec<u32>>,
    ad: &Ad,
    cattax: u32,
    seat: Option<&str>,
) -> Result<Option<usize>, NoBid> {
    let deal = imp.pmp.as_ref().and_then(|pmp| pmp.deals.iter().flatten().position(|deal| takes(deal, ad, seat)));
    let private = imp.pmp.as_ref().is_some_and(|pmp| pmp.private_auction == Some(1));
    if private && deal.is_none() {
        return Err(NoBid::Deal);
    }
    let lists = |list: &Option<Vec<Text<'_>>>, text: &str| list.iter().flatten().any(|entry| **entry == *text);
    if ad.bundle.as_ref().is_some_and(|bundle| lists(&request.bapp, bundle)) {
        return Err(NoBid::App);
    }
    let blocked =
        request.badv.iter().flatten().any(|blocked| ad.adomain.iter().any(|domain| is_within(domain, blocked)));
    if blocked {
        return Err(NoBid::Domain);
    }
    let named = |list: &Option<Vec<Text<'_>>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let category_counts = named(&request.bcat) || named(&request.acat);
    if category_counts && !ad.cat.is_empty() && request.cattax.unwrap_or(1) != cattax {
        // Whether they mean the same cannot be known.
        return Err(NoBid::Category);
    }
    let among = |list: &Option<Vec<Text<'_>>>, category: &String| {
        list.iter().flatten().any(|entry| is_category_of(category, entry))
    };
    let allowed = !named(&request.acat) || ad.cat.iter().all(|category| among(&request.acat, category));
    if !allowed || ad.cat.iter().any(|category| among(&request.bcat, category)) {
        return Err(NoBid::Category);
    }
    if battr.iter().flatten().any(|blocked| ad.attr.contains(blocked)) {
        return Err(NoBid::Attribute);
    }
    if imp.secure == Some(1) && !ad.secure {
        return Err(NoBid::Secure);
    }
    Ok(deal)
}

fn seat_may_bid(request: &BidRequest<'_>, seat: Option<&str>) -> bool {
    let names = |list: &[Text<'_>]| seat.is_some_and(|seat| list.iter().any(|named| **named == *seat));
    let allowed = request.wseat.as_deref().is_none_or(|list| list.is_empty() || names(list));
    allowed && !request.bseat.as_deref().is_some_and(names)
}

/// Whether a deal takes an ad.
fn takes(deal: &Deal<'_>, ad: &Ad, seat: Option<&str>) -> bool {
    let seats = deal.wseat.as_deref().unwrap_or_default();
    let domains = deal.wadomain.as_deref().unwrap_or_default();
    ad.deals.iter().any(|id| *id == *deal.id)
        && (seats.is_empty() || seat.is_some_and(|seat| seats.iter().any(|named| **named == *seat)))
        && (domains.is_empty() || domains.iter().any(|named| ad.adomain.iter().any(|domain| is_within(domain, named))))
}

/// Whether `domain` (in lower case) is `of` or below it.
fn is_within(domain: &str, of: &str) -> bool {
    let of = of.trim_end_matches('.');
    let Some(start) = domain.len().checked_sub(of.len()).filter(|start| domain.is_char_boundary(*start)) else {
        return false;
    };
    !of.is_empty() && domain[start..].eq_ignore_ascii_case(of) && (start == 0 || domain[..start].ends_with('.'))
}

/// Whether `category` is `of` or a part of it, as IAB1-2 is of IAB1.
fn is_category_of(category: &str, of: &str) -> bool {
    category.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_categories_block_what_is_below_them() {
        assert!(is_within("ads.ford.example", "FORD.example") && is_within("ford.example", "ford.example"));
        assert!(!is_within("notford.example", "ford.example") && !is_within("example", "ford.example"));
        assert!(!is_within("ford.example", "") && !is_within("größe", "e\u{308}"));
        assert!(is_category_of("IAB1-2", "IAB1") && is_category_of("IAB1", "IAB1"));
        assert!(!is_category_of("IAB10", "IAB1") && !is_category_of("IAB1", "IAB1-2"));
    }

    #[test]
    fn reasons_have_names_and_codes_of_their_own() {
        let mut codes: Vec<u32> = NoBid::ALL.iter().map(|reason| reason.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), NoBid::ALL.len());
        assert!(NoBid::ALL.is_sorted());
    }
}
