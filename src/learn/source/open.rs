//! A path → a stream of unpacked bytes, or a Parquet file, told by the first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::{Head, Input};
use crate::error::{Error, Result};
use crate::learn::dataset::InputRecord;
use crate::model::features::hash::{Fingerprint, FingerprintStream};

/// Bytes asked of the system at a time where packed data are read; blocks of plain text pass by the buffer.
const BUFFER: usize = 1 << 16;

/// A log, opened.
pub(super) enum Opened {
    /// Text, unpacked while it is read.
    Text(Source),
    /// Parquet, which is read by column.
    Parquet(File),
}

/// First bytes of files that are no logs, and what they are.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"ARROW1\0\0", "an Arrow IPC file"),
];

/// Opens a log and tells its format.
///
/// # Errors
/// Io when it cannot be opened; Data when it is of a format that is not read here.
pub(super) fn open(input: &Input) -> Result<Opened> {
    let path = input.path();
    let raw: Box<dyn Read + Send> = if input.is_stdin() {
        match &input.head {
            Head::None => Box::new(io::stdin()),
            Head::Only(head) => Box::new(io::Cursor::new(head.clone())),
            Head::First(head) => Box::new(io::Cursor::new(head.clone()).chain(io::stdin())),
        }
    } else {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        if file.metadata().map_err(Error::io(path, "open"))?.is_dir() {
            let source = io::Error::new(io::ErrorKind::IsADirectory, "expected a log file, got a folder");
            return Err(Error::io(path, "read")(source));
        }
        Box::new(file)
    };
    let mut reader = BufReader::with_capacity(BUFFER, Metered { raw, bytes: 0, fingerprint: Fingerprint::stream() });
    let start = reader.fill_buf().map_err(Error::io(path, "read"))?;
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic)) {
        let message = format!("expected text, gzip, zstd or Parquet, got {what}");
        return Err(Error::data(input.name(), message));
    }
    let unpacked = if start.starts_with(b"PAR1") {
        if input.is_stdin() {
            return Err(Error::data(input.name(), "Parquet cannot be read from standard input; give the file's path"));
        }
        return Ok(Opened::Parquet(File::open(path).map_err(Error::io(path, "open"))?));
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Unpacked::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(reader)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(reader).map_err(Error::io(path, "unpack"))?;
        // Files written with `zstd --long` need more than the default window.
        decoder.window_log_max(31).map_err(Error::io(path, "unpack"))?;
        Unpacked::Zstd(Box::new(decoder))
    } else {
        Unpacked::Plain(Box::new(reader))
    };
    Ok(Opened::Text(Source { input: input.clone(), unpacked }))
}

/// A stream of unpacked bytes that knows how much of the stored file was read.
pub(super) struct Source {
    input: Input,
    unpacked: Unpacked,
}

enum Unpacked {
    Plain(Box<BufReader<Metered>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Metered>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Metered>>>),
}

struct Metered {
    raw: Box<dyn Read + Send>,
    bytes: u64,
    fingerprint: FingerprintStream,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(buffer)?;
        self.fingerprint.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Why a log cannot be read on.
#[derive(Debug)]
pub(super) enum Failure {
    /// With its place.
    Placed(Error),
    /// Of the line reached, which is known only when all that was read before is parsed.
    AtLine(String),
}

impl Failure {
    /// The error, when line `line` of `file` was reached.
    pub(super) fn at(self, file: &str, line: u64) -> Error {
        match self {
            Failure::Placed(error) => error,
            Failure::AtLine(message) => Error::data(format!("{file}:{line}"), message),
        }
    }
}

impl Source {
    /// Fills `space` as far as the log goes; how many bytes there were.
    ///
    /// # Errors
    /// When the system fails, or packed data are damaged or cut short.
    pub(super) fn read(&mut self, space: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < space.len() {
            let read = match &mut self.unpacked {
                Unpacked::Plain(reader) => reader.read(&mut space[filled..]),
                Unpacked::Gzip(reader) => reader.read(&mut space[filled..]),
                Unpacked::Zstd(reader) => reader.read(&mut space[filled..]),
            };
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
        Ok(filled)
    }

    fn failure(&self, error: io::Error) -> Failure {
        let format = match self.unpacked {
            Unpacked::Plain(_) => return Failure::Placed(Error::io(self.input.path(), "read")(error)),
            Unpacked::Gzip(_) => "gzip",
            Unpacked::Zstd(_) => "zstd",
        };
        if error.raw_os_error().is_some() {
            return Failure::Placed(Error::io(self.input.path(), "read")(error));
        }
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the {format} data end too early; the file is cut short"),
            _ => format!("the {format} data are damaged ({error})"),
        };
        Failure::AtLine(format!("{what} (after {} stored bytes)", self.bytes_read()))
    }

    /// Whether the bytes are those stored.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.unpacked, Unpacked::Plain(_))
    }

    /// The log it comes from.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// Stored bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.metered().bytes
    }

    fn metered(&self) -> &Metered {
        match &self.unpacked {
            Unpacked::Plain(reader) => reader.get_ref(),
            Unpacked::Gzip(reader) => reader.get_ref().get_ref(),
            Unpacked::Zstd(reader) => reader.get_ref().get_ref(),
        }
    }

    /// What was read, as the manifest keeps it.
    pub(super) fn record(self) -> InputRecord {
        let metered = self.metered();
        let path = if self.input.is_stdin() { "-".to_owned() } else { self.input.name().to_owned() };
        InputRecord { path, bytes: metered.bytes, fingerprint: metered.fingerprint.finish() }
    }
}

/// What a whole stored file is, as the manifest keeps it.
pub(super) fn record_of_file(input: &Input, mut file: &File) -> Result<InputRecord> {
    let mut fingerprint = Fingerprint::stream();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    io::Seek::rewind(&mut file).map_err(Error::io(input.path(), "read"))?;
    loop {
        match file.read(&mut buffer).map_err(Error::io(input.path(), "read"))? {
            0 => return Ok(InputRecord { path: input.name().to_owned(), bytes, fingerprint: fingerprint.finish() }),
            count => {
                fingerprint.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}
