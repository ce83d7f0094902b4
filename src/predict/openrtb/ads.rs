//! The ads file → the ads that may be candidates, found by banner size.
//!
//! TOML with `[[ads]]`, or one JSON object a line; the same keys. Keys that OpenRTB's Bid has (section 4.2.3) have its names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::money::Rates;
use crate::config::from_toml;
use crate::error::{Error, Result};

/// A banner's size in device-independent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

/// An ad and what a bid for it says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ad {
    /// Identity, `adid` of a bid.
    pub id: String,
    /// Campaign.
    pub cid: Option<String>,
    /// Creative.
    pub crid: Option<String>,
    /// Domains of the advertiser.
    #[serde(default)]
    pub adomain: Vec<String>,
    /// Categories, of the file's taxonomy.
    #[serde(default)]
    pub cat: Vec<String>,
    /// Creative attributes.
    #[serde(default)]
    pub attr: Vec<u32>,
    /// Identity of the advertised app.
    pub bundle: Option<String>,
    /// Banner sizes, as in `300x250`.
    #[serde(rename = "sizes")]
    size_texts: Vec<String>,
    /// The same, parsed.
    #[serde(skip)]
    pub sizes: Vec<Size>,
    /// What a click is worth.
    pub value: f64,
    /// Its currency; that of the settings where it is not told.
    pub currency: Option<String>,
    /// Least price that is bid, CPM in the ad's currency.
    #[serde(default)]
    pub floor: f64,
    /// Whether its markup loads over HTTPS.
    #[serde(default = "yes")]
    pub secure: bool,
    /// Deals that it may also be bid under.
    #[serde(default)]
    pub deals: Vec<String>,
    /// Markup; macros are left as they are.
    pub adm: Option<String>,
    /// Win notice.
    pub nurl: Option<String>,
    /// Billing notice.
    pub burl: Option<String>,
    /// Loss notice.
    pub lurl: Option<String>,
    /// Image for checks of the content.
    pub iurl: Option<String>,
    /// Fields of the schema that are the ad's: strings, numbers, and lists for bags.
    #[serde(default)]
    pub features: BTreeMap<String, Feature>,
}

/// Value of an ad's field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Feature {
    /// Text as it stands in a log.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Values of a bag.
    List(Vec<String>),
}

impl Feature {
    /// As a log has it, values of a bag with `separator` between; `None` when it is missing, or a list where `separator` is
    /// `None`.
    pub(super) fn cell(&self, separator: Option<u8>) -> Option<String> {
        let text = match self {
            Feature::Text(text) => text.clone(),
            Feature::Integer(number) => number.to_string(),
            Feature::Number(number) => number.to_string(),
            Feature::Bool(truth) => truth.to_string(),
            Feature::List(values) => values.join(&char::from(separator?).to_string()),
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

/// All ads.
#[derive(Debug, Clone, PartialEq)]
pub struct Ads {
    /// In the order of the file.
    pub ads: Vec<Ad>,
    /// Taxonomy of their categories (`cattax`).
    pub cattax: u32,
    /// Places in `ads` by size.
    by_size: HashMap<Size, Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAds {
    version: u32,
    #[serde(default = "one")]
    cattax: u32,
    ads: Vec<Ad>,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

impl Ads {
    /// Reads an ads file: JSON lines when its name ends in `.jsonl` or `.ndjson`, else TOML.
    ///
    /// # Errors
    /// Io when it cannot be read; config, with the ad.
    pub fn read(path: &Path, rates: &Rates) -> Result<Ads> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let lines = path.extension().is_some_and(|end| end == "jsonl" || end == "ndjson");
        Ads::parse(&text, &path.display().to_string(), lines, rates)
    }

    /// Parses an ads file; `place` is its name in errors, and `lines` says that it is JSON lines.
    ///
    /// # Errors
    /// Config, with the ad.
    pub fn parse(text: &str, place: &str, lines: bool, rates: &Rates) -> Result<Ads> {
        let (mut ads, cattax) = match lines {
            true => (json_lines(text, place)?, 1),
            false => {
                let raw: RawAds = from_toml(text, place)?;
                if raw.version != 1 {
                    return Err(Error::config(place, "version", format!("expected 1, got {}", raw.version)));
                }
                (raw.ads, raw.cattax)
            }
        };
        let mut ids = HashSet::new();
        for ad in &mut ads {
            let wrong = |key: &str, message: String| Error::config(place, format!("ad {}: {key}", ad.id), message);
            if !ids.insert(ad.id.clone()) {
                return Err(wrong("id", "expected another id than the ads before it".into()));
            }
            if !(ad.value.is_finite() && ad.value >= 0.0 && ad.floor.is_finite() && ad.floor >= 0.0) {
                let message = format!("expected value and floor of at least 0, got {} and {}", ad.value, ad.floor);
                return Err(wrong("value", message));
            }
            if let Some(currency) = ad.currency.as_ref().filter(|currency| !rates.knows(currency)) {
                return Err(wrong("currency", format!("expected one that openrtb.rates has, got {currency:?}")));
            }
            if ad.size_texts.is_empty() {
                return Err(wrong("sizes", "expected at least one, as in \"300x250\"".into()));
            }
            let size = |text: &String| {
                let (w, h) = text.split_once('x')?;
                Some(Size { w: w.parse().ok()?, h: h.parse().ok()? })
            };
            let sizes = ad.size_texts.iter().map(|text| {
                size(text)
                    .ok_or_else(|| wrong("sizes", format!("expected width x height, as in 300x250, got {text:?}")))
            });
            ad.sizes = sizes.collect::<Result<_>>()?;
            ad.adomain.iter_mut().for_each(|domain| *domain = domain.to_lowercase());
        }
        let mut by_size: HashMap<Size, Vec<usize>> = HashMap::new();
        for (place, ad) in ads.iter().enumerate() {
            for size in &ad.sizes {
                by_size.entry(*size).or_default().push(place);
            }
        }
        Ok(Ads { ads, cattax, by_size })
    }

    /// Places of the ads of a size.
    pub(super) fn of_size(&self, size: Size) -> &[usize] {
        self.by_size.get(&size).map_or(&[], Vec::as_slice)
    }
}

impl Ad {
    /// The text of one of its sizes.
    pub(super) fn size_text(&self, size: Size) -> &str {
        let place = self.sizes.iter().position(|known| *known == size);
        place.map_or("", |place| &self.size_texts[place])
    }
}

fn json_lines(text: &str, place: &str) -> Result<Vec<Ad>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let ad = |(line, text): (usize, &str)| {
        serde_json::from_str(text)
            .map_err(|error| Error::config(format!("{place}:{}", line + 1), "ad", error.to_string()))
    };
    lines.map(ad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, lines: bool) -> Result<Ads> {
        Ads::parse(text, "ads", lines, &Rates::new("USD", &BTreeMap::new()).unwrap())
    }

    #[test]
    fn both_forms_say_the_same() {
        let toml = "version = 1\n[[ads]]\nid = \"a\"\nsizes = [\"300x250\", \"320x50\"]\nvalue = 0.4\nadomain = [\"A.example\"]\n\
                    features = { ad = \"a\", n = 5, tags = [\"x\", \"y\"] }";
        let json = r#"{"id": "a", "sizes": ["300x250", "320x50"], "value": 0.4, "adomain": ["A.example"],
            "features": {"ad": "a", "n": 5, "tags": ["x", "y"]}}"#
            .replace('\n', " ");
        let ads = parse(toml, false).unwrap();
        assert_eq!(ads, parse(&format!("{json}\n\n"), true).unwrap());
        assert_eq!(ads.of_size(Size { w: 320, h: 50 }), [0]);
        assert_eq!(ads.ads[0].adomain, ["a.example"]);
        assert_eq!(ads.ads[0].features["tags"].cell(Some(b'|')).as_deref(), Some("x|y"));
        assert_eq!(ads.ads[0].features["tags"].cell(None), None);
    }

    #[test]
    fn errors_name_the_ad() {
        let ad = |rest: &str| format!("version = 1\n[[ads]]\nid = \"a\"\n{rest}");
        for (text, told) in [
            (ad("value = 1"), "sizes"),
            (ad("value = 1\nsizes = []"), "ad a: sizes"),
            (ad("value = 1\nsizes = [\"300\"]"), "got \"300\""),
            (ad("value = -1\nsizes = [\"1x1\"]"), "ad a: value"),
            (ad("value = 1\nsizes = [\"1x1\"]\ncurrency = \"EUR\""), "openrtb.rates"),
            (ad("valeu = 1\nsizes = [\"1x1\"]"), "did you mean \"value\"?"),
            (ad("value = 1\nsizes = [\"1x1\"]\n[[ads]]\nid = \"a\"\nvalue = 1\nsizes = [\"1x1\"]"), "another id"),
        ] {
            let message = parse(&text, false).unwrap_err().to_string();
            assert!(message.contains(told), "{text}: {message}");
        }
        let message = parse("\n{\"id\": 5}", true).unwrap_err().to_string();
        assert!(message.contains("ads:2"), "{message}");
    }
}
