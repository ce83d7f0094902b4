//! `pctr serve`: a bundle, or what a registry's stage serves, behind HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::predict::http::{Limits, ServeOptions, Source, serve};
use crate::registry::PRODUCTION;

/// Answer score requests over HTTP.
#[derive(Debug, Args)]
#[command(after_help = "POST /v1/score answers probabilities; GET /healthz, /readyz and /metrics tell how it is. \
                        SIGINT or SIGTERM ends it after the requests it has are answered.")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Stage of the registry to follow
    #[arg(long, default_value = PRODUCTION, conflicts_with = "bundle")]
    stage: String,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Most candidates in one request (1 to 1000000)
    #[arg(long, value_name = "N", default_value_t = Limits::default().candidates as u32,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_candidates: u32,
    /// Longest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes as u32,
          value_parser = clap::value_parser!(u32).range(1_024..))]
    max_body: u32,
    /// Threads that answer (1 to 1024; default: one a core)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// Serve this bundle
    #[arg(long, value_name = "BUNDLE")]
    bundle: Option<PathBuf>,
    /// Serve what this registry's stage serves, and follow its promotions
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
}

/// Serves until the process is told to stop.
///
/// # Errors
/// Bundle when the model is refused; config when the registry serves nothing; io when the address cannot be had.
pub(super) fn run(args: &ServeArgs) -> Result<()> {
    let source = match (&args.source.bundle, &args.source.registry) {
        (Some(bundle), _) => Source::Bundle(bundle.clone()),
        (None, registry) => {
            let folder = registry.clone().expect("clap asks for one of the two");
            Source::Registry { folder, stage: args.stage.clone() }
        }
    };
    let options = ServeOptions {
        listen: args.listen,
        limits: Limits { candidates: args.max_candidates as usize, body_bytes: args.max_body as usize },
        threads: args.threads.map(usize::from),
        ..ServeOptions::new(source)
    };
    serve(&options, |_| Ok(()))
}
