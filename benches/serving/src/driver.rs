//! A schedule of requests → latencies, from one thread that never sleeps.
//!
//! Open loop: request k is due at k / rate, whether earlier ones were answered or not, and its latency counts from when it was due.
//! A service that stalls is charged for every request that should have been sent meanwhile (coordinated omission is avoided). A
//! request goes out on the first connection that is free; with enough of them it goes out on time, which `late` proves. Closed
//! loop: every connection sends as soon as it is answered; latency then counts from sending, and only the rate means anything.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// How a peer frames its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1 with content-length.
    Http,
    /// This many lines.
    Lines(usize),
}

/// What to send, and when.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub address: SocketAddr,
    pub framing: Framing,
    pub connections: usize,
    /// Requests a second; `None` for a closed loop.
    pub rate: Option<f64>,
    pub time: Duration,
    /// Most requests; the loop ends when they are answered.
    pub most: u64,
}

/// Longest wait for the first answer of a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub struct Outcome {
    pub sent: u64,
    /// Nanoseconds by status; 0 stands for a peer without one.
    pub latencies: BTreeMap<u16, Histogram<u64>>,
    /// Requests whose connection ended before their answer.
    pub lost: u64,
    /// Nanoseconds from when a request was due to when it was sent.
    pub late: Histogram<u64>,
    pub seconds: f64,
}

/// One answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Number of the request.
    pub request: u64,
    pub status: u16,
    /// When the request was due.
    pub due: Instant,
    /// When all of its answer was there.
    pub answered: Instant,
    pub body: &'a [u8],
}

/// A histogram from 1 ns to 100 s to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("bounds are in order")
}

struct Connection {
    stream: TcpStream,
    /// The request on its way: number, when it was due, and how many of its bytes are sent.
    request: Option<(u64, Instant, usize)>,
    received: Vec<u8>,
}

/// Sends `bytes_of(k)` for request k and calls `check` with every answer.
pub fn drive<'b>(
    load: &Load,
    bytes_of: impl Fn(u64) -> &'b [u8],
    mut check: impl FnMut(Answer<'_>),
) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Vec::new();
    for token in 0..load.connections {
        connections.push(connect(load.address, &poll, token)?);
    }
    // Whoever bids keeps its connections. What the first request of each costs, when it is taken and its buffers are made, is not
    // what is measured here.
    for connection in &mut connections {
        connection.greet(bytes_of(0), load.framing)?;
    }
    let mut free: VecDeque<usize> = (0..load.connections).collect();
    let (mut sent, mut answered, mut lost) = (0_u64, 0_u64, 0_u64);
    let mut latencies = BTreeMap::new();
    let mut late = histogram();
    let started = Instant::now();
    let end = started + load.time;
    let due = |request: u64| load.rate.map(|rate| started + Duration::from_secs_f64(request as f64 / rate));
    loop {
        let now = Instant::now();
        let in_flight = sent - answered - lost;
        // What was due before the end is sent and waited for, however late.
        let more = sent < load.most && due(sent).map_or(now < end, |due| due < end);
        if (!more && in_flight == 0) || now > end + Duration::from_secs(30) {
            lost += in_flight;
            break;
        }
        while let Some(&at) = free.front() {
            let due = due(sent).unwrap_or(now);
            if sent >= load.most || due > now || due >= end || (load.rate.is_none() && now >= end) {
                break;
            }
            free.pop_front();
            late.saturating_record(now.duration_since(due).as_nanos() as u64 + 1);
            connections[at].request = Some((sent, due, 0));
            connections[at].send(bytes_of(sent))?;
            sent += 1;
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let Token(at) = event.token();
            let connection = &mut connections[at];
            if let (true, Some((request, ..))) = (event.is_writable(), connection.request) {
                connection.send(bytes_of(request))?;
            }
            let open = connection.receive()?;
            while let Some((status, body, end)) = connection.answer(load.framing) {
                if let Some((request, due, _)) = connection.request.take() {
                    let histogram = latencies.entry(status).or_insert_with(histogram);
                    let now = Instant::now();
                    histogram.saturating_record(now.duration_since(due).as_nanos() as u64);
                    check(Answer { request, status, due, answered: now, body: &connection.received[body] });
                    answered += 1;
                    free.push_back(at);
                }
                connection.received.drain(..end);
            }
            if !open {
                if connection.request.take().is_some() {
                    lost += 1;
                    free.push_back(at);
                }
                *connection = connect(load.address, &poll, at)?;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { sent, latencies, lost, late, seconds })
}

fn connect(address: SocketAddr, poll: &Poll, token: usize) -> io::Result<Connection> {
    // Connected before it is given to the poll: connecting is not what is timed.
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
    Ok(Connection { stream, request: None, received: Vec::with_capacity(1 << 16) })
}

impl Connection {
    /// Sends what the socket takes of the request's bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((.., done)) = &mut self.request else { return Ok(()) };
        while *done < bytes.len() {
            match self.stream.write(&bytes[*done..]) {
                Ok(count) => *done += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end of the connection is met by reading.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sends a request and waits for its answer.
    fn greet(&mut self, bytes: &[u8], framing: Framing) -> io::Result<()> {
        let began = Instant::now();
        self.request = Some((0, began, 0));
        while began.elapsed() < PATIENCE {
            self.send(bytes)?;
            let open = self.receive()?;
            if let Some((_, _, end)) = self.answer(framing) {
                self.received.drain(..end);
                self.request = None;
                return Ok(());
            }
            if !open {
                break;
            }
        }
        Err(io::Error::other(format!("the first request of a connection had no answer within {PATIENCE:?}")))
    }

    /// Reads what is there; whether the connection is still open.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 1 << 16];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(false),
            }
        }
    }

    /// Status and body of a whole answer, and where it ends.
    fn answer(&self, framing: Framing) -> Option<(u16, std::ops::Range<usize>, usize)> {
        let received = &self.received[..];
        match framing {
            Framing::Lines(lines) => {
                let mut ends = received.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
                ends.nth(lines - 1).map(|end| (0, 0..end, end))
            }
            Framing::Http => {
                let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
                let text = std::str::from_utf8(&received[..head]).ok()?;
                let status = text.get(9..12)?.parse().ok()?;
                let length: usize = text
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
                let end = head + length;
                (received.len() >= end).then_some((status, head..end, end))
            }
        }
    }
}

impl Outcome {
    /// Answers with this status.
    pub fn count(&self, status: u16) -> u64 {
        self.latencies.get(&status).map_or(0, Histogram::len)
    }

    /// A quantile of the latency of answers with this status, in microseconds; NaN without any.
    pub fn micros(&self, status: u16, quantile: f64) -> f64 {
        self.latencies.get(&status).map_or(f64::NAN, |histogram| histogram.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// Answers a second with this status.
    pub fn rate(&self, status: u16) -> f64 {
        self.count(status) as f64 / self.seconds
    }
}
