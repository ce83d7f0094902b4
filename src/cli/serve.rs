//! `pctr serve`: a bundle, or what a registry's stage serves, behind HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use toml::Value;

use super::print;
use crate::config::{Settled, apply_settings, table};
use crate::error::{Error, Result};
use crate::predict::http::{ServeOptions, serve};

/// Answer score requests over HTTP.
#[derive(Debug, Args)]
#[command(
    after_help = "Settings come from flags, the environment (PCTR_SERVE_LIMITS_CANDIDATES=500), the file of --config and \
                        defaults, in this order; --print-config shows all of them and where each came from. \
                        SIGINT or SIGTERM ends the service after the requests it has are answered."
)]
pub(super) struct ServeArgs {
    /// Serve this bundle
    #[arg(long, value_name = "BUNDLE", conflicts_with = "registry")]
    bundle: Option<PathBuf>,
    /// Serve what this registry's stage serves, and follow its promotions
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Stage of the registry to follow [default: production]
    #[arg(long, conflicts_with = "bundle")]
    stage: Option<String>,
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Most candidates in one request [default: 1000]
    #[arg(long, value_name = "N")]
    max_candidates: Option<u32>,
    /// Longest body of a request, in bytes [default: 4 MiB]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u32>,
    /// Requests scored at the same time [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// Settings file (TOML); every key is in docs/config.md
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any other key, as in --set budget.default_us=5000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Print the settings, where each came from and what it means, and end
    #[arg(long)]
    print_config: bool,
}

impl ServeArgs {
    /// Puts flags, environment, file and defaults together.
    ///
    /// # Errors
    /// Io when the file cannot be read; config, with the nearest key, when a setting is unknown or of another type.
    pub(super) fn settle(&self) -> Result<Settled<ServeOptions>> {
        let file = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
                Some((text, path.display().to_string()))
            }
            None => None,
        };
        let file = file.as_ref().map(|(text, place)| (text.as_str(), place.as_str()));
        let environment =
            std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        let mut settled: Settled<ServeOptions> = ServeOptions::layout().settle(file, environment, &self.flags()?)?;
        // A flag for the one source puts the other one, from a layer below, out of effect.
        match (&self.bundle, &self.registry) {
            (Some(_), _) => settled.settings.registry = None,
            (_, Some(_)) => settled.settings.bundle = None,
            (None, None) => {}
        }
        Ok(settled)
    }

    /// What the flags set, by dotted path.
    fn flags(&self) -> Result<Vec<(String, Value)>> {
        let mut flags = Vec::new();
        for setting in &self.settings {
            let mut set = table("", "--set")?;
            apply_settings(&mut set, std::slice::from_ref(setting))?;
            let (path, _) = setting.split_once('=').expect("it was applied");
            let value = path.trim().split('.').try_fold(Value::Table(set), |value, key| value.get(key).cloned());
            flags.extend(value.map(|value| (path.trim().to_owned(), value)));
        }
        let text = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
        let own = [
            ("bundle", self.bundle.as_ref().map(text)),
            ("registry", self.registry.as_ref().map(text)),
            ("stage", self.stage.clone().map(Value::String)),
            ("listen", self.listen.map(|address| Value::String(address.to_string()))),
            ("limits.candidates", self.max_candidates.map(|most| Value::Integer(most.into()))),
            ("limits.body_bytes", self.max_body.map(|most| Value::Integer(most.into()))),
            ("threads", self.threads.map(|threads| Value::Integer(threads.into()))),
        ];
        flags.extend(own.into_iter().filter_map(|(path, value)| Some((path.to_owned(), value?))));
        Ok(flags)
    }
}

/// Serves until the process is told to stop.
///
/// # Errors
/// Config when a setting is out of its bounds or the registry serves nothing; bundle when the model is refused; io when an
/// address cannot be had.
pub(super) fn run(args: &ServeArgs, settled: &Settled<ServeOptions>) -> Result<()> {
    if args.print_config {
        return print(&ServeOptions::layout().print(settled)?);
    }
    allow_many_files();
    serve(&settled.settings, |_| Ok(()))
}

/// Lets the process open as many files as the system allows it: each connection is one.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::warn!("this process may open {current:?} files only");
    }
}
