//! A service as a child process on one processor, ended when it is dropped; and the processor of whoever loads it.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// A running child.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
}

/// The binary of pctr beside this one.
pub fn pctr() -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::current_exe()?.with_file_name("pctr");
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is missing; build it with cargo build --release", path.display()).into()),
    }
}

/// Keeps this thread, and the children it starts from now on, to one processor: the first for services, the last for load.
pub fn pin(part: Part) {
    // Asked once: a thread that is kept to one processor is told of that one alone.
    static PROCESSORS: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let processors = PROCESSORS.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    let chosen = match part {
        Part::Service => processors.first(),
        Part::Load => processors.last(),
    };
    if let Some(chosen) = chosen {
        core_affinity::set_for_current(*chosen);
    }
}

/// Lets this thread run only while nobody else wants its processor.
pub fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        eprintln!("this thread disturbs the service: {error:?}");
    }
}

/// Who runs where.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    Service,
    Load,
}

/// A port of loopback that is free now.
pub fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

impl Service {
    /// Starts `command` on the services' processor and waits until something listens at `address`.
    pub fn start(command: &mut Command, address: SocketAddr) -> Result<Service, Box<dyn Error>> {
        pin(Part::Service);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        pin(Part::Load);
        let mut service = Service { child: child?, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(address).is_err() {
            if let Some(status) = service.child.try_wait()? {
                return Err(format!("{command:?} ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("{command:?} does not listen on {address}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(service)
    }

    /// `pctr serve` of a bundle, one thread, that turns nobody away.
    pub fn bundle(bundle: &Path) -> Result<Service, Box<dyn Error>> {
        Service::pctr(|command| patient(command).arg("--bundle").arg(bundle))
    }

    /// The same as it is by default: it sheds what it cannot answer in time.
    pub fn shedding(bundle: &Path) -> Result<Service, Box<dyn Error>> {
        Service::pctr(|command| command.arg("--bundle").arg(bundle))
    }

    /// `pctr serve` of a registry, one thread, looking for changes fifty times a second.
    pub fn registry(registry: &Path) -> Result<Service, Box<dyn Error>> {
        Service::pctr(|command| patient(command).arg("--registry").arg(registry).env("PCTR_SERVE_POLL_MS", "20"))
    }

    /// An HTTP service of the same stack that answers every request with the same bytes.
    pub fn constant() -> Result<Service, Box<dyn Error>> {
        let address = free_address()?;
        Service::start(Command::new(std::env::current_exe()?).arg("constant").arg(address.to_string()), address)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn pctr(of: impl FnOnce(&mut Command) -> &mut Command) -> Result<Service, Box<dyn Error>> {
        let address = free_address()?;
        let mut command = Command::new(pctr()?);
        command.args(["--quiet", "serve", "--threads", "1", "--listen", &address.to_string()]);
        Service::start(of(&mut command), address)
    }
}

fn patient(command: &mut Command) -> &mut Command {
    command.env("PCTR_SERVE_BUDGET_QUEUE_US", "60000000")
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
