//! `pctr replay`: a request log and a bundle → whether the answers are the same, bit for bit.

use std::path::PathBuf;

use super::{Context, print};
use crate::error::{Error, Result};
use crate::model::bundle::Bundle;
use crate::predict::log::replay;

/// Score the requests of a service's log again and compare every bit of the answers.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with exit code 3 when an answer differs, and names the first field that does. Lines that other \
                        models answered are passed over."
)]
pub(crate) struct ReplayArgs {
    /// File of the request log, or its folder.
    log: PathBuf,
    /// The bundle that answered, as the registry keeps it.
    #[arg(long, value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

impl ReplayArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let bundle = Bundle::open(&self.bundle)?;
        let found = replay(&self.log, &bundle, || context.interrupt.check())?;
        if self.json {
            let json = serde_json::to_string(&found).map_err(|error| Error::Bug(error.to_string()))?;
            print(&format!("{json}\n"))?;
        }
        match found.first {
            None => {
                let passed = match (found.other_models, found.damaged) {
                    (0, 0) => String::new(),
                    (others, damaged) => format!("; passed over: {others} of other models, {damaged} damaged"),
                };
                let (requests, candidates, model) = (found.requests, found.candidates, &bundle.manifest.model);
                context.note(format_args!(
                    "{requests} requests with {candidates} candidates: {model} answers the same bits{passed}"
                ));
                Ok(())
            }
            Some(first) => {
                let message = format!("{} of {} requests are answered otherwise", found.differing, found.requests);
                Err(Error::data(first.to_string(), message))
            }
        }
    }
}
