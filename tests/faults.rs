//! What goes wrong around a service on an open port: slow and hostile clients, bodies of every bad kind, strangers at the admin
//! paths, more work than time, and the order to stop. Each against a real server on a port of its own, in bounded time.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bundles::{bundle, written};
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, ServeOptions, ServerHandle, Source, spawn};
use pctr::registry::{PRODUCTION, Registry, SchemaChange};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "correct-horse-battery-staple";
const GOOD: &str = r#"{"candidates": [{"id": 1, "site": "news"}]}"#;

fn options(folder: &Path, kind: ModelKind) -> ServeOptions {
    let source = Source::Bundle(written(folder, &bundle(kind, 1)));
    ServeOptions { listen: ([127, 0, 0, 1], 0).into(), threads: 1, poll_ms: 10, ..ServeOptions::new(source) }
}

fn server(change: impl FnOnce(&mut ServeOptions)) -> (tempfile::TempDir, ServerHandle) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), ModelKind::Ftrl);
    change(&mut options);
    let server = spawn(&options).unwrap();
    (folder, server)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(30 * SECOND)).unwrap();
    stream.set_write_timeout(Some(30 * SECOND)).unwrap();
    stream
}

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n")
}

/// One answer: status and body, without waiting for the end of the connection.
fn answer(stream: &TcpStream) -> std::io::Result<(u16, String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = head.to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, head, String::from_utf8(body).unwrap()))
}

/// Sends a body on a connection of its own; status and answer.
fn send(address: SocketAddr, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all((head(path, body.len()) + "connection: close\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let (status, _, body) = answer(&stream).unwrap();
    (status, body)
}

fn kind(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["error"]["kind"].as_str().unwrap_or_default().to_owned()
}

fn still_answers(address: SocketAddr) {
    let (status, body) = send(address, "/v1/score", GOOD.as_bytes());
    assert_eq!(status, 200, "{body}");
}

/// Whether the other side closes within a time.
fn closes(stream: &TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    match (&mut &*stream).read(&mut [0; 1024]) {
        Ok(0) => true,
        Ok(_) => closes(stream, within),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn slow_heads_slow_bodies_and_silence_are_ended() {
    let (_folder, server) = server(|options| {
        options.limits = Limits { header_ms: 300, body_ms: 300, idle_ms: 700, ..Limits::default() };
    });
    let address = server.local_addr();

    // A head of which a byte comes now and then.
    let mut slow = connect(address);
    let began = Instant::now();
    let refused = (0..200).any(|at| {
        std::thread::sleep(Duration::from_millis(20));
        slow.write_all(
            &b"POST /v1/score HTTP/1.1\r\nx-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
                [at % 80..][..1],
        )
        .is_err()
    });
    assert!(refused || closes(&slow, 5 * SECOND), "a slow head is ended");
    assert!(began.elapsed() >= Duration::from_millis(300));
    still_answers(address);

    // A body that does not come.
    let mut slow = connect(address);
    slow.write_all((head("/v1/score", 100) + "\r\n{").as_bytes()).unwrap();
    let (status, head_of_answer, body) = answer(&slow).unwrap();
    assert_eq!((status, kind(&body).as_str()), (408, "body_too_slow"));
    assert!(head_of_answer.contains("connection: close"), "{head_of_answer}");
    assert!(closes(&slow, 5 * SECOND));

    // Silence, from the start and after an answer.
    let silent = connect(address);
    let mut answered = connect(address);
    answered.write_all((head("/v1/score", GOOD.len()) + "\r\n" + GOOD).as_bytes()).unwrap();
    assert_eq!(answer(&answered).unwrap().0, 200);
    assert!(closes(&silent, 10 * SECOND) && closes(&answered, 10 * SECOND));
    still_answers(address);
    server.join().unwrap();
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let (_folder, server) = server(|options| options.limits.connections = 3);
    let address = server.local_addr();
    let mut held: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    // They count once they are accepted.
    for stream in &mut held {
        stream.write_all((head("/v1/score", GOOD.len()) + "\r\n" + GOOD).as_bytes()).unwrap();
        assert_eq!(answer(stream).unwrap().0, 200);
    }
    let (status, head, body) = answer(&connect(address)).unwrap();
    assert_eq!((status, kind(&body).as_str()), (503, "overloaded"));
    assert!(head.contains("retry-after: 1"), "{head}");
    drop(held.pop());
    let deadline = Instant::now() + 20 * SECOND;
    loop {
        let mut stream = connect(address);
        let _ = stream.write_all((self::head("/v1/score", GOOD.len()) + "\r\n" + GOOD).as_bytes());
        if answer(&stream).is_ok_and(|(status, ..)| status == 200) {
            break;
        }
        assert!(Instant::now() < deadline, "a place is free again");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.join().unwrap();
}

#[test]
fn a_body_in_parts_is_read_whole() {
    let (_folder, server) = server(|_| {});
    let address = server.local_addr();
    let candidates = |body: &str| serde_json::from_str::<Value>(body).unwrap()["candidates"].clone();
    let (_, whole) = send(address, "/v1/score", GOOD.as_bytes());
    for parts in [1, 2, 5, GOOD.len()] {
        let size = GOOD.len().div_ceil(parts);
        let mut chunked = connect(address);
        chunked.write_all(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        let mut plain = connect(address);
        plain.write_all((head("/v1/score", GOOD.len()) + "\r\n").as_bytes()).unwrap();
        for part in GOOD.as_bytes().chunks(size) {
            chunked.write_all(&[format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).unwrap();
            plain.write_all(part).unwrap();
            // Else the system may put parts together again.
            std::thread::sleep(Duration::from_millis(1));
        }
        chunked.write_all(b"0\r\nx-checksum: a trailer\r\n\r\n").unwrap();
        for stream in [chunked, plain] {
            let (status, _, body) = answer(&stream).unwrap();
            assert_eq!((status, candidates(&body)), (200, candidates(&whole)), "{parts} parts");
        }
    }
    server.join().unwrap();
}

#[test]
fn large_bodies_are_refused_without_being_kept() {
    let (_folder, server) = server(|_| {});
    let address = server.local_addr();
    let hundred = 100 << 20;
    // Refused by its announced length, before any of it is sent.
    let mut stream = connect(address);
    stream.write_all((head("/v1/score", hundred) + "\r\n").as_bytes()).unwrap();
    let (status, _, body) = answer(&stream).unwrap();
    assert_eq!((status, kind(&body).as_str()), (413, "body_too_large"));
    // Without an announced length, once it is too long.
    let mut stream = connect(address);
    stream.write_all(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n", [b' '; 0x10000].as_slice(), b"\r\n"].concat();
    let sent = (0..hundred >> 16).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < hundred >> 16, "all of it was read");
    if let Ok((status, ..)) = answer(&stream) {
        assert_eq!(status, 413);
    }
    // A million candidates within the allowed bytes: counted, not kept.
    let many = format!(r#"{{"candidates":[{}{{}}]}}"#, "{},".repeat(999_999));
    for path in ["/v1/score", "/v1/score/batch"] {
        let body = if path.ends_with("batch") { format!(r#"{{"requests":[{many}]}}"#) } else { many.clone() };
        let (status, body) = send(address, path, body.as_bytes());
        assert!(body.contains("too_many_candidates") && body.contains("got 1000000"), "{status}: {body}");
    }
    still_answers(address);
    server.join().unwrap();
}

#[test]
fn bad_bodies_are_refused_on_every_path() {
    let (_folder, server) = server(|_| {});
    let address = server.local_addr();
    let deep = |open: &str, close: &str| {
        format!(r#"{{"candidates": [{{"tags": {}{}}}]}}"#, open.repeat(100_000), close.repeat(100_000))
    };
    let bad: Vec<Vec<u8>> = vec![
        vec![],
        b"\xff\xfe\x00".to_vec(),
        b"{\"candidates\": [{\"site\": \"\xc3\x28\"}]}".to_vec(),
        deep("[", "]").into_bytes(),
        deep("{\"a\":", "}").into_bytes(),
        "[".repeat(1_000_000).into_bytes(),
        br#"{"candidates": [{"age": NaN}]}"#.to_vec(),
        br#"{"candidates": [{"age": Infinity}]}"#.to_vec(),
        br#"{"candidates": [{"age": 1e999}]}"#.to_vec(),
        br#"{"candidates": [{"age": "inf"}]}"#.to_vec(),
        format!(r#"{{"candidates": [{{"age": {}}}]}}"#, "9".repeat(100_000)).into_bytes(),
        br#"{"candidates": [{"age": 1, "age": 2}]}"#.to_vec(),
        br#"{"candidates": [{"site": {"x": 1}}]}"#.to_vec(),
        br#"{"candidates": "all"}"#.to_vec(),
        br#"{"requests": [], "requests": []}"#.to_vec(),
        br#"{"requests": {}}"#.to_vec(),
        br#"{"requests": []}"#.to_vec(),
    ];
    for path in ["/v1/score", "/v1/score/batch", "/v1/openrtb"] {
        for body in &bad {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (status, answer) = send(address, path, body);
            assert!((400..500).contains(&status), "{path} {shown}: {status} {answer}");
            assert!(!kind(&answer).is_empty(), "{path} {shown}: {answer}");
        }
    }
    // In a batch each request is answered or refused on its own.
    let batch = format!(r#"{{"requests": [{GOOD}, {{"candidates": [{{"age": "x"}}]}}, 5, {GOOD}]}}"#);
    let (status, answer) = send(address, "/v1/score/batch", batch.as_bytes());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answers = answer["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[0]["candidates"][0]["probability"], answers[3]["candidates"][0]["probability"]);
    assert_eq!(
        (&answers[1]["error"]["kind"], &answers[2]["error"]["kind"]),
        (&json!("invalid_number"), &json!("wrong_type"))
    );
    for budget in ["0", "-1", "1e3", "soon", "60000001"] {
        let mut stream = connect(address);
        let request = head("/v1/score", GOOD.len()) + &format!("x-budget-us: {budget}\r\n\r\n{GOOD}");
        stream.write_all(request.as_bytes()).unwrap();
        let (status, _, body) = self::answer(&stream).unwrap();
        assert_eq!((status, kind(&body).as_str()), (400, "invalid_value"), "{budget}");
    }
    still_answers(address);
    server.join().unwrap();
}

#[test]
fn unknown_fields_may_be_passed_over() {
    use pctr::predict::http::{Requests, Unknown};
    let (_folder, server) = server(|options| options.requests = Requests { unknown_fields: Unknown::Ignore });
    let body = r#"{"trace": 1, "context": {"sitee": "x"}, "candidates": [{"id": 1, "site": "news", "new": []}]}"#;
    let (status, answer) = send(server.local_addr(), "/v1/score", body.as_bytes());
    assert_eq!(status, 200, "{answer}");
    server.join().unwrap();
}

#[test]
fn strangers_do_not_change_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::create(&folder.path().join("registry")).unwrap();
    let publish = |kind, seed| registry.publish(&written(folder.path(), &bundle(kind, seed))).unwrap().model;
    let (a, b) = (publish(ModelKind::Ftrl, 1), publish(ModelKind::Ftrl, 2));
    registry.promote(&a, PRODUCTION, SchemaChange::Refuse).unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let source = Source::Registry { folder: registry.folder().to_path_buf(), stage: PRODUCTION.into() };
    let mut options =
        ServeOptions { listen: ([127, 0, 0, 1], 0).into(), threads: 1, poll_ms: 10, ..ServeOptions::new(source) };
    options.admin.listen = options.listen;
    options.admin.token_file = Some(token);
    let server = spawn(&options).unwrap();
    let admin = server.admin_addr().unwrap();

    let call = |address: SocketAddr, method: &str, path: &str, token: Option<&str>, body: &str| {
        let mut stream = connect(address);
        let shown = token.map_or_else(String::new, |token| format!("authorization: {token}\r\n"));
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{shown}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (status, head, body) = answer(&stream).unwrap();
        assert!(!head.contains(TOKEN) && !body.contains(TOKEN), "the token is never told");
        (status, head, body)
    };
    let promote = json!({ "model": b }).to_string();
    let paths = [
        ("GET", "/v1/models", ""),
        ("POST", "/v1/models/promote", promote.as_str()),
        ("POST", "/v1/models/rollback", ""),
    ];
    let longer = format!("Bearer {TOKEN}x");
    let near = format!("Bearer {}X", &TOKEN[..TOKEN.len() - 1]);
    let basic = format!("Basic {TOKEN}");
    for (method, path, body) in paths {
        for shown in
            [None, Some(""), Some("Bearer"), Some("Bearer "), Some(TOKEN), Some(&longer), Some(&near), Some(&basic)]
        {
            let (status, head, answer) = call(admin, method, path, shown, body);
            assert_eq!((status, kind(&answer).as_str()), (401, "unauthorized"), "{path} {shown:?}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
        }
        let (status, ..) = call(server.local_addr(), method, path, Some(&format!("Bearer {TOKEN}")), body);
        assert_eq!(status, 404, "{path} is not on the clients' listener");
    }
    assert_eq!(registry.resolve(PRODUCTION).unwrap().model, a);
    for path in ["/v1/score", "/v1/score/batch", "/v1/openrtb"] {
        let (status, ..) = call(admin, "POST", path, None, GOOD);
        assert_eq!(status, 404, "{path} is not on the admins' listener");
    }

    let bearer = format!("Bearer {TOKEN}");
    let admin_call = |method: &str, path: &str, body: &str| {
        let (status, _, body) = call(admin, method, path, Some(&bearer), body);
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (status, models) = admin_call("GET", "/v1/models", "");
    assert_eq!((status, &models["serving"], models["models"].as_array().unwrap().len()), (200, &json!(a), 2));
    assert_eq!(admin_call("POST", "/v1/models/promote", r#"{"model": "nobody"}"#).0, 404);
    assert_eq!(admin_call("POST", "/v1/models/promote", r#"{"modle": "x"}"#).0, 400);
    let (status, stage) = admin_call("POST", "/v1/models/promote", &promote);
    assert_eq!((status, &stage["model"]), (200, &json!(b)));
    let deadline = Instant::now() + 30 * SECOND;
    while !send(server.local_addr(), "/v1/score", GOOD.as_bytes()).1.contains(&b) {
        assert!(Instant::now() < deadline, "the promoted model serves");
    }
    let (status, stage) = admin_call("POST", "/v1/models/rollback", "");
    assert_eq!((status, &stage["model"]), (200, &json!(a)));
    let (status, refused) = admin_call("POST", "/v1/models/rollback", "");
    assert_eq!((status, &refused["error"]["kind"]), (404, &json!("unknown_model")), "there is nothing before {a}");
    server.join().unwrap();
}

#[test]
fn more_work_than_time_is_shed_at_once_and_the_rest_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), ModelKind::Dcn);
    options.budget.queue_us = 1_000;
    let server = spawn(&options).unwrap();
    let address = server.local_addr();
    let candidates = vec!["{\"site\": \"news\", \"age\": 30}"; 1000].join(",");
    let body = format!(r#"{{"candidates": [{candidates}]}}"#);
    let (answered, shed, late) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let until = Instant::now() + 2 * SECOND;
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut stream = connect(address);
                while Instant::now() < until {
                    let request = head("/v1/score", body.len()) + "x-budget-us: 500000\r\n\r\n";
                    stream.write_all(request.as_bytes()).unwrap();
                    stream.write_all(body.as_bytes()).unwrap();
                    let (status, head, text) = answer(&stream).unwrap();
                    match status {
                        200 => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            let micros = serde_json::from_str::<Value>(&text).unwrap()["micros"].as_u64().unwrap();
                            late.fetch_add(usize::from(micros > 500_000), Ordering::Relaxed);
                        }
                        503 => {
                            assert!(head.contains("retry-after: 1") && kind(&text) == "overloaded", "{head}{text}");
                            shed.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("{status}: {text}"),
                    }
                }
            });
        }
    });
    let (answered, shed, late) = (answered.into_inner(), shed.into_inner(), late.into_inner());
    assert!(
        answered > 0 && shed > 0 && late * 100 <= answered,
        "{answered} answered, {late} of them late; {shed} shed"
    );
    server.join().unwrap();
}

/// The program itself, serving a bundle; ended when dropped.
struct Program {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let bundle = written(folder.path(), &bundle(ModelKind::Ftrl, 1));
        let mut child = Command::new(env!("CARGO_BIN_EXE_pctr"))
            .args(["serve", "--listen", "127.0.0.1:0", "--bundle"])
            .arg(&bundle)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().split_once("on http://").map(|(_, address)| address.trim().parse().unwrap()))
            .unwrap();
        // What it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Program { child, address, _folder: folder }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 10,000 where this process may open as many files, else as many as it may.
#[test]
fn ten_thousand_idle_connections_do_no_harm() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20) as usize;
    let count = 10_000.min(allowed.saturating_sub(300));
    let program = Program::start(&[]);
    // Room for them was made ahead (Linux says for how many): making it later would hold up everybody.
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())) {
        let room =
            status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap().trim().parse::<usize>().unwrap();
        assert!(room > count, "{room} files for {count} connections");
    }
    let held: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(program.address).unwrap()).collect();
    let deadline = Instant::now() + 60 * SECOND;
    loop {
        let mut stream = connect(program.address);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let (_, _, metrics) = answer(&stream).unwrap();
        let open =
            metrics.lines().find_map(|line| line.strip_prefix("pctr_connections ")).unwrap().parse::<f64>().unwrap();
        if open >= count as f64 {
            break;
        }
        assert!(Instant::now() < deadline, "{open} of {count} are open");
    }
    still_answers(program.address);
    drop(held);
    still_answers(program.address);
}

/// Whatever the service began to read is answered whole, also when it is told to stop meanwhile. A request that a client
/// writes on a connection that is being closed was never accepted: it gets no byte of an answer.
#[test]
fn sigterm_under_load_loses_nothing_that_was_accepted() {
    let mut program = Program::start(&["--threads", "1"]);
    let address = program.address;
    // Requests that are half there when the signal comes.
    let begun: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all((head("/v1/score", GOOD.len()) + "\r\n" + &GOOD[..5]).as_bytes()).unwrap();
            stream
        })
        .collect();
    still_answers(address);
    let stopped = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                'connections: while !stopped.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(address) else { break };
                    stream.set_read_timeout(Some(30 * SECOND)).unwrap();
                    loop {
                        if stream.write_all((head("/v1/score", GOOD.len()) + "\r\n" + GOOD).as_bytes()).is_err() {
                            continue 'connections;
                        }
                        if stream.peek(&mut [0]).unwrap_or(0) == 0 {
                            continue 'connections;
                        }
                        // What began must be whole.
                        let (status, head, body) = answer(&stream).expect("an answer that began is whole");
                        assert!(status == 200 && body.ends_with('}'), "{status} {body}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        if head.contains("connection: close") {
                            continue 'connections;
                        }
                    }
                }
            });
        }
        std::thread::sleep(SECOND / 2);
        program.terminate();
        std::thread::sleep(SECOND / 5);
        for mut stream in begun {
            stream.write_all(&GOOD.as_bytes()[5..]).unwrap();
            let (status, head, body) = answer(&stream).expect("what was accepted is answered");
            assert_eq!(status, 200, "{body}");
            assert!(head.contains("connection: close"), "{head}");
        }
        stopped.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 0);
    assert!(program.child.wait().unwrap().success(), "it ends well");
    assert!(TcpStream::connect(address).is_err());
}
