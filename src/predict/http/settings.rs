//! `serve.toml`: everything about the service that can be set, with bounds and defaults.
//!
//! The doc comments here are what `pctr serve --print-config` prints and what `docs/config.md` says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Documented as _, Key, Layout, Section, settings};
use crate::error::{Error, Result};
use crate::predict::live::SwapSettings;
use crate::predict::log::LogSettings;
use crate::predict::openrtb::OpenRtbSettings;
use crate::registry::PRODUCTION;

settings! {
    /// What clients may ask for at most.
    pub struct Limits {
        /// Candidates in one request (1 to 1000000).
        pub candidates: usize = 1000,
        /// Requests in one batch, and impressions in one bid request (1 to 100000).
        pub batch: usize = 100,
        /// Bytes of one body (1024 to 1073741824).
        pub body_bytes: usize = 4 << 20,
        /// Bytes of all bodies being read or waiting for a place (at least `body_bytes`).
        pub bodies_bytes: usize = 256 << 20,
        /// Open connections (1 to 1000000); one more is told 503 and closed.
        pub connections: usize = 16_384,
        /// Bytes of a request's line and headers (8192 to 1048576).
        pub header_bytes: usize = 16_384,
        /// Milliseconds for a request's line and headers, from their first byte (1 to 600000).
        pub header_ms: u64 = 5_000,
        /// Milliseconds for a request's body (1 to 600000).
        pub body_ms: u64 = 5_000,
        /// Milliseconds that a connection may be silent between requests (1 to 86400000).
        pub idle_ms: u64 = 120_000,
        /// Milliseconds that requests may take to end once the service is told to stop (0 to 600000).
        pub grace_ms: u64 = 10_000,
    }
}

settings! {
    /// How long an answer may take, and when a request is turned away instead.
    pub struct Budgets {
        /// Microseconds from a request's arrival to its answer, where the request does not say (1 to 60000000).
        pub default_us: u64 = 10_000,
        /// Milliseconds taken off an OpenRTB request's `tmax` for the network and the exchange (0 to 60000).
        pub tmax_margin_ms: u64 = 20,
        /// Longest expected wait behind others in line for a place to be scored in, in microseconds, before a request is turned
        /// away; never more than half of the request's own budget (0 to 60000000).
        pub queue_us: u64 = 1_000,
        /// Seconds that a client turned away is told to wait, as `retry-after` (0 to 3600).
        pub retry_after_s: u64 = 1,
    }
}

/// What to do with something that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Refuse the request, so that a typo is found at once.
    #[default]
    Refuse,
    /// Pass over it, so that clients may be ahead of the schema.
    Ignore,
}

settings! {
    /// How score requests are read.
    pub struct Requests {
        /// Fields and keys that the schema does not have: `refuse` or `ignore`.
        pub unknown_fields: Unknown = Unknown::Refuse,
    }
}

settings! {
    /// Who may change the model in use, and where.
    pub struct AdminSettings {
        /// File that holds the bearer token; the environment variable PCTR_ADMIN_TOKEN wins. Without a token nobody may.
        pub token_file: Option<PathBuf> = None,
        /// Address and port of the admin listener; it serves `/v1/models` and all that tells how the service is.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8081)),
        /// Serve the admin paths on the listener of clients too.
        pub shared_listener: bool = false,
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

settings! {
    /// Log lines on standard error. What is logged at all is chosen by PCTR_LOG, as in PCTR_LOG=debug.
    pub struct Logs {
        /// Form of a line: `text` or `json`.
        pub format: LogFormat = LogFormat::Text,
        /// Log one of so many answered requests (0 to 1000000000); 0 for none.
        pub sample_answers: u64 = 0,
        /// Log one of so many refused requests (0 to 1000000000); 0 for none.
        pub sample_refusals: u64 = 100,
    }
}

settings! {
    /// Encryption of the clients' listener; in builds with the feature `tls`.
    pub struct TlsSettings {
        /// Certificate chain, PEM.
        pub certificate: Option<PathBuf> = None,
        /// Its private key, PEM.
        pub key: Option<PathBuf> = None,
    }
}

settings! {
    /// `serve.toml`.
    pub struct ServeOptions {
        /// Folder of the bundle to serve. Either this or `registry`.
        pub bundle: Option<PathBuf> = None,
        /// Folder of the registry whose stage is served and followed. Either this or `bundle`.
        pub registry: Option<PathBuf> = None,
        /// Stage of the registry.
        pub stage: String = PRODUCTION.into(),
        /// Address and port that clients use; port 0 takes any free one.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Requests scored at the same time (0 to 1024); 0 for one a core.
        pub threads: usize = 0,
        /// Milliseconds between two looks at the registry (1 to 3600000).
        pub poll_ms: u64 = 1000,
        /// What clients may ask for at most.
        pub limits: Limits = Limits::default(),
        /// How long an answer may take.
        pub budget: Budgets = Budgets::default(),
        /// How score requests are read.
        pub requests: Requests = Requests::default(),
        /// Who may change the model in use.
        pub admin: AdminSettings = AdminSettings::default(),
        /// Bidding by OpenRTB.
        pub openrtb: OpenRtbSettings = OpenRtbSettings::default(),
        /// How a model takes over.
        pub swap: SwapSettings = SwapSettings::default(),
        /// Requests kept to be replayed.
        pub request_log: LogSettings = LogSettings::default(),
        /// Log lines.
        pub logs: Logs = Logs::default(),
        /// Encryption.
        pub tls: TlsSettings = TlsSettings::default(),
    }
}

impl ServeOptions {
    /// Its keys, section by section. Environment variables begin with `PCTR_SERVE_`.
    pub fn layout() -> Layout {
        let sections = vec![
            Section::of::<Limits>("limits", "What clients may ask for at most."),
            Section::of::<Budgets>("budget", "How long an answer may take, and when a request is turned away instead."),
            Section::of::<Requests>("requests", "How score requests are read."),
            Section::of::<AdminSettings>("admin", "Who may change the model in use, and where."),
            Section::of::<OpenRtbSettings>("openrtb", "Bidding by OpenRTB 2.6."),
            Section::of::<SwapSettings>("swap", "How a model takes over from the one in use."),
            Section::of::<LogSettings>("request_log", "A sample of requests, kept to be replayed with pctr replay."),
            Section::of::<Logs>("logs", "Log lines on standard error. What is logged at all is chosen by PCTR_LOG."),
            Section::of::<TlsSettings>("tls", "Encryption of the clients' listener; in builds with the feature `tls`."),
        ];
        let mut keys: Vec<Key> = ServeOptions::keys();
        keys.retain(|key| sections.iter().all(|section| section.name != key.name));
        let top = Section { name: "", about: "Where the model comes from and where the service listens.", keys };
        Layout { prefix: "PCTR_SERVE", sections: std::iter::once(top).chain(sections).collect() }
    }

    /// All of them for people: the page `docs/config.md`.
    pub fn reference() -> String {
        let layout = ServeOptions::layout();
        format!("{REFERENCE_BEGIN}\n{}\n", layout.reference().trim_end())
    }

    /// Settings that serve `source` and are defaults otherwise.
    pub fn new(source: Source) -> ServeOptions {
        let mut settings = ServeOptions::default();
        match source {
            Source::Bundle(folder) => settings.bundle = Some(folder),
            Source::Registry { folder, stage } => (settings.registry, settings.stage) = (Some(folder), stage),
        }
        settings
    }

    /// Where the model comes from.
    ///
    /// # Errors
    /// Config unless exactly one of `bundle` and `registry` is set.
    pub fn source(&self) -> Result<Source> {
        match (&self.bundle, &self.registry) {
            (Some(bundle), None) => Ok(Source::Bundle(bundle.clone())),
            (None, Some(folder)) => Ok(Source::Registry { folder: folder.clone(), stage: self.stage.clone() }),
            (Some(_), Some(_)) => Err(refused("bundle", "expected either bundle or registry, got both")),
            (None, None) => Err(refused("bundle", "expected --bundle BUNDLE or --registry DIR, got neither")),
        }
    }

    /// Whether every value is within its bounds.
    ///
    /// # Errors
    /// Config, with the key.
    pub fn check(&self) -> Result<()> {
        let limits = &self.limits;
        within("threads", self.threads as u64, 0, 1024)?;
        within("poll_ms", self.poll_ms, 1, 3_600_000)?;
        within("limits.candidates", limits.candidates as u64, 1, 1_000_000)?;
        within("limits.batch", limits.batch as u64, 1, 100_000)?;
        within("limits.body_bytes", limits.body_bytes as u64, 1024, 1 << 30)?;
        within("limits.bodies_bytes", limits.bodies_bytes as u64, limits.body_bytes as u64, u64::MAX)?;
        within("limits.connections", limits.connections as u64, 1, 1_000_000)?;
        within("limits.header_bytes", limits.header_bytes as u64, 8192, 1 << 20)?;
        within("limits.header_ms", limits.header_ms, 1, 600_000)?;
        within("limits.body_ms", limits.body_ms, 1, 600_000)?;
        within("limits.idle_ms", limits.idle_ms, 1, 86_400_000)?;
        within("limits.grace_ms", limits.grace_ms, 0, 600_000)?;
        within("budget.default_us", self.budget.default_us, 1, MOST_BUDGET.as_micros() as u64)?;
        within("budget.tmax_margin_ms", self.budget.tmax_margin_ms, 0, 60_000)?;
        within("budget.queue_us", self.budget.queue_us, 0, 60_000_000)?;
        within("budget.retry_after_s", self.budget.retry_after_s, 0, 3600)?;
        within("logs.sample_answers", self.logs.sample_answers, 0, 1_000_000_000)?;
        within("logs.sample_refusals", self.logs.sample_refusals, 0, 1_000_000_000)?;
        self.swap.check("swap")?;
        self.request_log.check("request_log")?;
        let openrtb = &self.openrtb;
        if openrtb.mapping.is_some() != openrtb.ads.is_some() {
            return Err(refused("openrtb.mapping", "expected mapping and ads together, got one of them"));
        }
        if !(openrtb.first_price_share > 0.0 && openrtb.first_price_share <= 1.0) {
            let message = format!("expected above 0 to 1, got {}", openrtb.first_price_share);
            return Err(refused("openrtb.first_price_share", message));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(refused("tls.certificate", "expected certificate and key together, got one of them"));
        }
        if self.tls.certificate.is_some() && !cfg!(feature = "tls") {
            return Err(refused("tls.certificate", "this build has no TLS; build it with --features tls"));
        }
        Ok(())
    }
}

/// How the page of all settings begins.
const REFERENCE_BEGIN: &str = "\
# Settings of the service

`pctr serve` takes them from flags (`--set limits.candidates=500`, and some have one of their own), the environment
(`PCTR_SERVE_LIMITS_CANDIDATES=500`), the TOML file of `--config` and defaults. Flags win over the environment, the environment over
the file, the file over the defaults. An unknown key is an error that names the nearest one. `pctr serve --print-config` shows every
value and where it came from, as a file that would give the same.

This page is written by the code (`src/predict/http/settings.rs`), and `tests/openapi.rs` compares it. Two more variables:
`PCTR_ADMIN_TOKEN` holds the admin token, `PCTR_LOG` says what is logged (`debug`, `pctr::predict=debug`).
";

/// Longest budget that a request may ask for.
pub(super) const MOST_BUDGET: Duration = Duration::from_secs(60);

/// Where the model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One bundle, for good.
    Bundle(PathBuf),
    /// What a stage of a registry serves, followed while serving.
    Registry {
        /// Folder of the registry.
        folder: PathBuf,
        /// The stage.
        stage: String,
    },
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<()> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false if most == u64::MAX => Err(refused(key, format!("expected at least {least}, got {value}"))),
        false => Err(refused(key, format!("expected {least} to {most}, got {value}"))),
    }
}

fn refused(key: &str, message: impl Into<String>) -> Error {
    Error::config("serve", key, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds_and_others_are_told() {
        ServeOptions::default().check().unwrap();
        let settle = |text: &str| {
            ServeOptions::layout().settle::<ServeOptions>(Some((text, "serve.toml")), [], &[]).unwrap().settings
        };
        for (text, told) in [
            ("threads = 2000", "threads: expected 0 to 1024, got 2000"),
            ("[limits]\nbody_bytes = 1", "limits.body_bytes: expected 1024 to 1073741824, got 1"),
            ("[limits]\nbodies_bytes = 5000", "limits.bodies_bytes: expected at least 4194304, got 5000"),
            ("[openrtb]\nads = \"a\"", "openrtb.mapping: expected mapping and ads together"),
            ("[openrtb]\nfirst_price_share = 0.0", "openrtb.first_price_share"),
        ] {
            let message = settle(text).check().unwrap_err().to_string();
            assert!(message.contains(told), "{text}: {message}");
        }
    }

    #[test]
    fn exactly_one_source_is_asked_for() {
        let both = ServeOptions { bundle: Some("a".into()), registry: Some("b".into()), ..ServeOptions::default() };
        assert!(both.source().unwrap_err().to_string().contains("got both"));
        assert!(ServeOptions::default().source().unwrap_err().to_string().contains("got neither"));
        assert_eq!(ServeOptions::new(Source::Bundle("a".into())).source().unwrap(), Source::Bundle("a".into()));
    }
}
