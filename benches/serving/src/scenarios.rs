//! What is asked of the service, and what of it is recorded.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpStream;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pctr::model::row::Cell;
use pctr::predict::LiveModel;
use pctr::predict::budget::Budget;
use pctr::predict::scorer::{Scratch, score};
use serde_json::Value;

use crate::driver::{Answer, Framing, Load, Outcome, drive};
use crate::models::{Kind, Models, SEEDS};
use crate::promotions::Promotions;
use crate::record::{Figure, Record};
use crate::requests::{CONTEXT, bodies, http, lines};
use crate::service::{Part, Service, free_address, give_way, pin};
use crate::witness::Witness;

type Done = Result<(), Box<dyn Error>>;

/// What every scenario needs.
pub struct Stage {
    pub models: Models,
    pub record: Record,
    /// Length of one measurement.
    pub time: Duration,
    rows: Vec<Vec<String>>,
}

/// Different bodies of one size.
const BODIES: usize = 512;
/// Connections of open loops: enough that a request need not wait for one.
const CONNECTIONS: usize = 64;
/// Models that take over in a measurement of that, and the rounds it has, each with and without.
const SWAPS: usize = 100;
const SWAP_ROUNDS: usize = 20;

impl Stage {
    pub fn new(models: Models, time: Duration) -> Result<Stage, Box<dyn Error>> {
        let rows = models.rows()?;
        Ok(Stage { models, record: Record::default(), time, rows })
    }

    /// Requests with all the time there is: each is scored by the full model.
    fn unhurried(&self, candidates: usize) -> Vec<Vec<u8>> {
        self.requests(candidates, "x-budget-us: 60000000\r\n")
    }

    fn requests(&self, candidates: usize, headers: &str) -> Vec<Vec<u8>> {
        bodies(&self.rows, candidates, BODIES).iter().map(|body| http(body, headers)).collect()
    }

    fn run(
        &self,
        service: &Service,
        requests: &[Vec<u8>],
        connections: usize,
        rate: Option<f64>,
    ) -> Result<Outcome, Box<dyn Error>> {
        run(service, requests, connections, rate, self.time)
    }

    /// Latencies at 30 % of what the service can do, for every size of request; one connection and many.
    pub fn steady(&mut self) -> Done {
        for kind in [Kind::Linear, Kind::Network] {
            let service = Service::bundle(&self.models.bundle(kind, 1)?)?;
            for candidates in [1, 10, 100, 300] {
                let requests = self.unhurried(candidates);
                let capacity = self.run(&service, &requests, 8, None)?;
                all_answered(&capacity)?;
                self.record.add(Figure::of(
                    "steady",
                    kind.name(),
                    candidates,
                    "closed loop of 8 connections",
                    &capacity,
                    200,
                ));
                for connections in [1, CONNECTIONS] {
                    let rate = 0.3 * capacity.rate(200);
                    let outcome = self.run(&service, &requests, connections, Some(rate))?;
                    all_answered(&outcome)?;
                    let what = format!("open loop on {connections} connections");
                    let figure = Figure::of("steady", kind.name(), candidates, &what, &outcome, 200);
                    self.record.add(Figure { asked_rate: Some(rate), ..figure });
                    self.record.add(late("steady", kind, candidates, &outcome));
                }
            }
        }
        Ok(())
    }

    /// The same hundred candidates in process and through HTTP on one connection, in turn.
    pub fn in_process(&mut self) -> Done {
        for kind in [Kind::Linear, Kind::Network] {
            let bundle = self.models.bundle(kind, 1)?;
            let service = Service::bundle(&bundle)?;
            let requests = self.unhurried(100);
            let model = LiveModel::open(&bundle)?;
            let mut own = crate::driver::histogram();
            let (mut open, mut closed) = (Vec::new(), Vec::new());
            let rounds = 5;
            for _ in 0..rounds {
                pin(Part::Service);
                self.score_in_process(&model, self.time / rounds, &mut own);
                pin(Part::Load);
                let rate = 0.3 / (own.value_at_quantile(0.5) as f64 * 1e-9 + 100e-6);
                open.push(run(&service, &requests, 1, Some(rate), self.time / rounds)?);
                closed.push(run(&service, &requests, 1, None, self.time / rounds)?);
            }
            let micros = |quantile| own.value_at_quantile(quantile) as f64 / 1e3;
            self.record.add(Figure {
                scenario: "in-process",
                model: kind.name().into(),
                candidates: 100,
                what: "scorer in process".into(),
                answered: own.len(),
                p50_us: Some(micros(0.5)),
                p99_us: Some(micros(0.99)),
                p999_us: Some(micros(0.999)),
                max_us: Some(micros(1.0)),
                ..Figure::default()
            });
            let limit = 1.5 * micros(0.5) + 150.0;
            for (outcomes, how) in [(open, "at 30 % of capacity"), (closed, "one after another")] {
                let merged = merge(outcomes)?;
                let what = format!("HTTP on one connection; {how}");
                self.record.add(Figure::of("in-process", kind.name(), 100, &what, &merged, 200));
                let (what, ratio) = (format!("{how}: p99 over 1.5 p50 + 150 µs"), merged.micros(200, 0.99) / limit);
                self.record.add(Figure::value("in-process", kind.name(), 100, &what, ratio));
            }
        }
        Ok(())
    }

    fn score_in_process(&self, model: &LiveModel, time: Duration, nanoseconds: &mut hdrhistogram::Histogram<u64>) {
        fn cell(text: &str) -> Cell<'_> {
            if text.is_empty() { Cell::Missing } else { Cell::Text(text.as_bytes()) }
        }
        let mut scratch = Scratch::default();
        let (end, mut at) = (Instant::now() + time, 0);
        while Instant::now() < end {
            let row = |candidate: usize| &self.rows[(at * 31 + candidate) % self.rows.len()];
            // The schema's first column is the label.
            let context = row(0)[..CONTEXT].iter().enumerate().map(|(at, text)| (at + 1, cell(text)));
            let own = (0..100).map(|candidate| {
                row(candidate)[CONTEXT..].iter().enumerate().map(|(at, text)| (CONTEXT + at + 1, cell(text)))
            });
            let started = Instant::now();
            let scored = score(model, context, own, &Budget::unlimited(), &mut scratch);
            nanoseconds.saturating_record(started.elapsed().as_nanos() as u64);
            assert_eq!(scored.map(<[_]>::len), Ok(100));
            at = (at + 1) % BODIES;
        }
    }

    /// Requests a second with one candidate beside the same stack answering a constant, in turn.
    pub fn throughput(&mut self) -> Done {
        let service = Service::bundle(&self.models.bundle(Kind::Linear, 1)?)?;
        let constant = Service::constant()?;
        let requests = self.unhurried(1);
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            for (service, rates) in [&service, &constant].into_iter().zip(&mut rates) {
                let outcome = run(service, &requests, 16, None, self.time / 5)?;
                all_answered(&outcome)?;
                rates.push(outcome.rate(200));
            }
        }
        let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
        let [ours, constant] = [best(&rates[0]), best(&rates[1])];
        for (what, rate) in [("pctr", ours), ("constant answer", constant)] {
            let (model, what) = ("lr".to_owned(), what.to_owned());
            let figure = Figure { scenario: "throughput", model, candidates: 1, what, ..Figure::default() };
            self.record.add(Figure { rate: Some(rate), ..figure });
        }
        self.record.add(Figure::value("throughput", "lr", 1, "share of the constant answer", ours / constant));
        Ok(())
    }

    /// Ten times the steady rate for a tenth of the time, again and again.
    pub fn burst(&mut self) -> Done {
        let service = Service::bundle(&self.models.bundle(Kind::Linear, 1)?)?;
        let requests = self.unhurried(10);
        let capacity = self.run(&service, &requests, 8, None)?.rate(200);
        let mut outcomes = [Vec::new(), Vec::new()];
        for _ in 0..10 {
            for (at, share) in [0.08, 0.8].into_iter().enumerate() {
                let time = self.time / if at == 0 { 20 } else { 200 };
                outcomes[at].push(run(&service, &requests, 256, Some(share * capacity), time)?);
            }
        }
        for (outcomes, what) in outcomes.into_iter().zip(["calm: 8 % of capacity", "burst: 80 % of capacity"]) {
            let outcome = merge(outcomes)?;
            all_answered(&outcome)?;
            self.record.add(Figure::of("burst", "lr", 10, what, &outcome, 200));
        }
        Ok(())
    }

    /// Twice what the service can do, each request with a budget: accepted ones in time, the others shed at once.
    pub fn overload(&mut self) -> Done {
        const SHED_WITHIN: Duration = Duration::from_millis(1);
        const BUDGET_US: u32 = 10_000;
        for (kind, candidates) in [(Kind::Linear, 100), (Kind::Network, 10)] {
            let service = Service::shedding(&self.models.bundle(kind, 1)?)?;
            let time = self.time.min(Duration::from_secs(3));
            let capacity = run(&service, &self.unhurried(candidates), 2, None, time)?.rate(200);
            let requests = self.requests(candidates, &format!("x-budget-us: {BUDGET_US}\r\n"));
            // The thread that answers, and this one: a request that is sent late is answered late.
            let threads = [(service.process(), "answer"), (std::process::id(), env!("CARGO_PKG_NAME"))];
            let witnesses = threads.into_iter().map(|(process, thread)| Witness::of(process, thread));
            let mut witnesses: Vec<Witness> = witnesses.collect::<std::io::Result<_>>().unwrap_or_else(|error| {
                eprintln!("whether another process was in the way cannot be seen here: {error}");
                Vec::new()
            });
            let (mut watched, mut late_ones) = (Ok(()), Vec::new());
            let load = load(&service, 1024, Some(2.0 * capacity), self.time);
            let check = |answer: Answer<'_>| {
                let looks = witnesses.iter_mut().map(|witness| witness.look(answer.answered));
                watched = std::mem::replace(&mut watched, Ok(())).and(looks.collect::<std::io::Result<()>>());
                if answer.status != 200 && answer.answered - answer.due > SHED_WITHIN {
                    late_ones.push(answer.due..answer.answered);
                }
            };
            let outcome = drive(&load, |at| &requests[at as usize % requests.len()], check)?;
            watched?;
            let name = kind.name();
            let shed = outcome.sent - outcome.lost - outcome.count(200);
            let unheld = |on_its_way: &&Range<Instant>| !witnesses.iter().any(|witness| witness.held(on_its_way));
            let unheld = late_ones.iter().filter(unheld).count();
            let what = "share of the shed within 1 ms or held up by other processes";
            self.record.add(Figure::value("overload", name, candidates, what, 1.0 - unheld as f64 / shed as f64));
            for (witness, what) in witnesses.iter().zip(["service", "load"]) {
                let what = format!("share of the time the {what} waited for its processor");
                let value = witness.total().as_secs_f64() / outcome.seconds;
                self.record.add(Figure::value("overload", name, candidates, &what, value));
            }
            for (status, histogram) in &outcome.latencies {
                let figure = Figure::of("overload", name, candidates, &format!("status {status}"), &outcome, *status);
                self.record.add(Figure { asked_rate: Some(2.0 * capacity), ..figure });
                let (limit, what) = match status {
                    200 => (f64::from(BUDGET_US), "share of the accepted within their budget"),
                    _ => (SHED_WITHIN.as_micros() as f64, "share of the shed within 1 ms"),
                };
                let within = histogram.percentile_below((limit * 1e3) as u64) / 100.0;
                self.record.add(Figure::value("overload", name, candidates, what, within));
            }
            self.record.add(late("overload", kind, candidates, &outcome));
            self.record.add(Figure::value("overload", name, candidates, "lost", outcome.lost as f64));
        }
        Ok(())
    }

    /// A steady load beside 500 clients that send a byte now and then.
    pub fn slow(&mut self) -> Done {
        let service = Service::bundle(&self.models.bundle(Kind::Linear, 1)?)?;
        let requests = self.unhurried(10);
        let rate = 0.3 * self.run(&service, &requests, 8, None)?.rate(200);
        let alone = self.run(&service, &requests, CONNECTIONS, Some(rate))?;
        all_answered(&alone)?;
        let done = AtomicBool::new(false);
        let beside = std::thread::scope(|scope| -> Result<Outcome, Box<dyn Error>> {
            let clients = scope.spawn(|| trickle(service.address, &requests[0], &done));
            let outcome = self.run(&service, &requests, CONNECTIONS, Some(rate));
            done.store(true, Ordering::Relaxed);
            clients.join().map_err(|_| "the slow clients panicked")??;
            outcome
        })?;
        all_answered(&beside)?;
        self.record.add(Figure::of("slow", "lr", 10, "alone", &alone, 200));
        self.record.add(Figure::of("slow", "lr", 10, "beside 500 slow clients", &beside, 200));
        let ratio = beside.micros(200, 0.99) / alone.micros(200, 0.99);
        self.record.add(Figure::value("slow", "lr", 10, "p99 over p99 alone", ratio));
        Ok(())
    }

    /// A steady load, in turn without and with models that take over, a hundred times in all.
    pub fn swaps(&mut self) -> Done {
        for kind in [Kind::Linear, Kind::Network] {
            let (registry, names) = self.models.registry(kind)?;
            let mut promotions = Promotions::make(&registry, &names, SWAPS)?;
            let service = Service::registry(registry.folder())?;
            let requests = self.unhurried(10);
            let rate = 0.3 * run(&service, &requests, 8, None, self.time / 10)?.rate(200);
            let (mut calm, mut swapping, mut ratios, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
            let time = self.time / SWAP_ROUNDS as u32;
            for round in 0..SWAP_ROUNDS {
                let without = run(&service, &requests, CONNECTIONS, Some(rate), time)?;
                let (most, every) = (SWAPS / SWAP_ROUNDS, self.time / SWAPS as u32);
                let (with, played) = promoting(&mut promotions, most, every, || {
                    run(&service, &requests, CONNECTIONS, Some(rate), time)
                })?;
                let with = with.map_err(|error| format!("round {round}: {error}"))?;
                count += played;
                ratios.push(with.micros(200, 0.99) / without.micros(200, 0.99));
                calm.push(without);
                swapping.push(with);
            }
            ratios.sort_by(f64::total_cmp);
            let (calm, swapping) = (merge(calm)?, merge(swapping)?);
            for (outcome, what) in [(&calm, "without swaps"), (&swapping, "with swaps")] {
                all_answered(outcome)?;
                self.record.add(Figure::of("swaps", kind.name(), 10, what, outcome, 200));
            }
            self.record.add(Figure::value("swaps", kind.name(), 10, "promotions", count as f64));
            self.record.add(Figure::value("swaps", kind.name(), 10, "models that took over", served(&service)? as f64));
            for (name, quantile) in [("p99 over p99 without", 0.99), ("p99.9 over p99.9 without", 0.999)] {
                let ratio = swapping.micros(200, quantile) / calm.micros(200, quantile);
                self.record.add(Figure::value("swaps", kind.name(), 10, name, ratio));
            }
            // A burst of noise from beside spoils a round or two, and with them the quantiles of all.
            let (what, median) = ("median of 20 rounds: p99 over p99 without", ratios[ratios.len() / 2]);
            self.record.add(Figure::value("swaps", kind.name(), 10, what, median));
        }
        Ok(())
    }

    /// Requests while models take over, every answer compared with what the model it names answers alone.
    pub fn exact(&mut self, most: u64) -> Done {
        let (registry, names) = self.models.registry(Kind::Linear)?;
        let requests = self.unhurried(2);
        // What each model answers alone.
        let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, seed) in names.iter().zip(SEEDS) {
            let service = Service::bundle(&self.models.bundle(Kind::Linear, seed)?)?;
            let mut answers = vec![Value::Null; BODIES];
            let load = Load { most: BODIES as u64, ..load(&service, 1, None, Duration::from_secs(60)) };
            drive(&load, |at| &requests[at as usize], |answer| answers[answer.request as usize] = parsed(answer.body))?;
            known.insert(name.clone(), answers.into_iter().map(|answer| answer["candidates"].clone()).collect());
        }
        let mut promotions = Promotions::make(&registry, &names, SWAPS)?;
        let service = Service::registry(registry.folder())?;
        let (mut wrong, mut unknown) = (0_u64, 0_u64);
        let mut by_model: BTreeMap<String, u64> = BTreeMap::new();
        // With time to spare: models are prepared only while no request wants the processor.
        let rate = 0.4 * run(&service, &requests, 16, None, Duration::from_secs(1))?.rate(200);
        let load = Load { most, ..load(&service, 16, Some(rate), Duration::from_secs(600)) };
        let mut check = |answer: Answer<'_>| {
            let parsed = parsed(answer.body);
            match parsed["model"].as_str().and_then(|model| Some((model, known.get(model)?))) {
                Some((model, known)) => {
                    wrong += u64::from(parsed["candidates"] != known[answer.request as usize % BODIES]);
                    *by_model.entry(model.to_owned()).or_default() += 1;
                }
                None => unknown += 1,
            }
        };
        let (outcome, _) = promoting(&mut promotions, usize::MAX, Duration::from_millis(100), || {
            drive(&load, |at| &requests[at as usize % BODIES], &mut check)
        })?;
        let outcome = outcome?;
        let swaps = served(&service)?;
        let answered = by_model.values().sum::<u64>();
        for (what, value) in [
            ("sent", outcome.sent),
            ("answered by a known model", answered),
            ("by the first model", by_model.get(&names[0]).copied().unwrap_or(0)),
            ("by the second model", by_model.get(&names[1]).copied().unwrap_or(0)),
            ("by the third model", by_model.get(&names[2]).copied().unwrap_or(0)),
            ("models that took over", swaps),
            ("wrong or mixed", wrong),
            ("of no known model", unknown),
            ("lost", outcome.lost),
        ] {
            self.record.add(Figure::value("exact", "lr", 2, what, value as f64));
        }
        match wrong + unknown + outcome.lost == 0 && answered == outcome.sent {
            true => Ok(()),
            false => Err("answers are wrong or lost".into()),
        }
    }

    /// A hundred candidates and one, beside the daemon of Fwumious Wabbit's logistic regression, in turn.
    pub fn fwumious(&mut self, daemon: &Fwumious) -> Done {
        let service = Service::bundle(&self.models.bundle(Kind::Linear, 1)?)?;
        let peer = daemon.start()?;
        for candidates in [1, 100] {
            let ours = self.unhurried(candidates);
            let theirs = lines(&self.rows, candidates, BODIES);
            let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                of_ours.push(run(&service, &ours, 1, None, self.time / 5)?);
                let load = Load { framing: Framing::Lines(candidates), ..load(&peer, 1, None, self.time / 5) };
                of_theirs.push(drive(&load, |at| &theirs[at as usize % BODIES], |_| ())?);
            }
            let (ours, theirs) = (merge(of_ours)?, merge(of_theirs)?);
            self.record.add(Figure::of(
                "fwumious",
                "lr",
                candidates,
                "pctr through HTTP on one connection",
                &ours,
                200,
            ));
            self.record.add(Figure::of(
                "fwumious",
                "lr",
                candidates,
                "Fwumious over TCP on one connection",
                &theirs,
                0,
            ));
            let ratio = theirs.micros(0, 0.5) / ours.micros(200, 0.5);
            self.record.add(Figure::value("fwumious", "lr", candidates, "Fwumious' p50 over ours", ratio));
        }
        Ok(())
    }
}

/// Fwumious Wabbit: its binary, a model that it trained and the folder with its namespace map.
#[derive(Debug, clap::Args)]
pub struct Fwumious {
    /// Binary of Fwumious Wabbit
    #[arg(long)]
    fw: PathBuf,
    /// Model it trained (see baselines/peers/linear.py); vw_namespace_map.csv lies beside it
    #[arg(long)]
    fw_model: PathBuf,
}

impl Fwumious {
    fn start(&self) -> Result<Service, Box<dyn Error>> {
        let address = free_address()?;
        let folder = self.fw_model.parent().ok_or("the model lies in a folder")?;
        let mut command = Command::new(&self.fw);
        command
            .args(["--daemon", "--foreground", "--num_children", "1", "-t", "--port"])
            .arg(address.port().to_string());
        command.arg("-i").arg(self.fw_model.canonicalize()?).current_dir(folder);
        Service::start(&mut command, address)
    }
}

fn load(service: &Service, connections: usize, rate: Option<f64>, time: Duration) -> Load {
    Load { address: service.address, framing: Framing::Http, connections, rate, time, most: u64::MAX }
}

fn run(
    service: &Service,
    requests: &[Vec<u8>],
    connections: usize,
    rate: Option<f64>,
    time: Duration,
) -> Result<Outcome, Box<dyn Error>> {
    let load = load(service, connections, rate, time);
    Ok(drive(&load, |at| &requests[at as usize % requests.len()], |_| ())?)
}

/// Several outcomes of the same load as one.
fn merge(outcomes: Vec<Outcome>) -> Result<Outcome, Box<dyn Error>> {
    let mut outcomes = outcomes.into_iter();
    let mut all = outcomes.next().ok_or("there is an outcome")?;
    for outcome in outcomes {
        for (status, histogram) in outcome.latencies {
            all.latencies.entry(status).or_insert_with(crate::driver::histogram).add(histogram)?;
        }
        all.late.add(outcome.late)?;
        (all.sent, all.lost, all.seconds) =
            (all.sent + outcome.sent, all.lost + outcome.lost, all.seconds + outcome.seconds);
    }
    Ok(all)
}

/// Latencies of a load that is not answered say nothing.
fn all_answered(outcome: &Outcome) -> Done {
    match outcome.count(200) == outcome.sent && outcome.lost == 0 {
        true => Ok(()),
        false => {
            let by_status: Vec<String> =
                outcome.latencies.iter().map(|(status, histogram)| format!("{} x {status}", histogram.len())).collect();
            Err(format!("sent {}, lost {}, answered {}", outcome.sent, outcome.lost, by_status.join(", ")).into())
        }
    }
}

/// Whether the load went out on time.
fn late(scenario: &'static str, kind: Kind, candidates: usize, outcome: &Outcome) -> Figure {
    let late = outcome.late.value_at_quantile(0.99) as f64 / 1e3;
    Figure::value(scenario, kind.name(), candidates, "p99 of how late requests were sent (µs)", late)
}

/// Does `work` while models are promoted; what came of it, and how many were.
fn promoting<Out>(
    promotions: &mut Promotions,
    most: usize,
    every: Duration,
    work: impl FnOnce() -> Out,
) -> Result<(Out, usize), Box<dyn Error>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let player = scope.spawn(|| promotions.play(most, every, &done));
        let out = work();
        done.store(true, Ordering::Relaxed);
        Ok((out, player.join().map_err(|_| "promoting panicked")??))
    })
}

/// How many models took over, as the service counts them.
fn served(service: &Service) -> Result<u64, Box<dyn Error>> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(service.address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: pctr\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("pctr_model_swaps_total "));
    Ok(line.ok_or("the service counts swaps")?.trim().parse()?)
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// Five hundred clients that send a request byte by byte, and begin again when they are cut off.
fn trickle(address: std::net::SocketAddr, request: &[u8], done: &AtomicBool) -> Result<(), String> {
    use std::io::Write;
    // On the load's processor they would make the load late.
    pin(Part::Service);
    give_way();
    let mut clients: Vec<(Option<TcpStream>, usize)> = (0..500).map(|_| (None, 0)).collect();
    while !done.load(Ordering::Relaxed) {
        for (client, at) in &mut clients {
            let stream = match client {
                Some(stream) => stream,
                None => {
                    *at = 0;
                    client.insert(TcpStream::connect(address).map_err(|error| error.to_string())?)
                }
            };
            match stream.write_all(&request[*at % request.len()..][..1]) {
                Ok(()) => *at += 1,
                Err(_) => *client = None,
            }
            // One after another: strangers do not keep step.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(())
}
