//! One request of HTTP/1.1 on a connection of its own: as much of the protocol as the control socket needs.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

/// Bytes of an answer's status line and fields.
const MAX_HEAD: usize = 16 << 10;
/// Bytes of an answer's body. The status of a manager with as many of everything as a bundle can have takes less.
const MAX_BODY: usize = 256 << 20;

/// An answer, whatever its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Connects to a socket, whoever listens there. A listener whose queue is full is waited for.
pub fn connect(socket: &Path, within: Duration) -> io::Result<UnixStream> {
    let stream = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // On Linux this is the limit of `connect`, too.
    set_socket_timeout(&stream, Timeout::Send, Some(within))?;
    connect_to(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

/// Sends one request and reads its answer.
pub fn exchange(
    stream: &UnixStream,
    method: &str,
    path: &str,
    body: &[u8],
    within: Duration,
) -> io::Result<Answer> {
    let mut timed = Timed {
        stream,
        until: Instant::now() + within,
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: onvm\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let sent = timed.write_all(&[head.as_bytes(), body].concat());
    let mut bytes = Vec::new();
    let most = (MAX_HEAD + MAX_BODY) as u64;
    let read = timed.take(most).read_to_end(&mut bytes);
    // A request can be refused before it is read to its end: then the answer counts.
    match (sent, read) {
        (_, Ok(_)) if !bytes.is_empty() => answer(bytes),
        (Err(e), _) | (_, Err(e)) if is_timeout(&e) => Err(io::Error::new(
            ErrorKind::TimedOut,
            format!("no answer within {} s", within.as_secs()),
        )),
        (Err(e), _) | (_, Err(e)) => Err(e),
        (Ok(()), Ok(_)) => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the connection was closed without an answer",
        )),
    }
}

/// The answer in all bytes of a connection.
fn answer(mut bytes: Vec<u8>) -> io::Result<Answer> {
    let not_http = || io::Error::new(ErrorKind::InvalidData, "this is not an HTTP answer");
    let end = b"\r\n\r\n";
    let within = bytes.get(..MAX_HEAD).unwrap_or(&bytes);
    let at = within.windows(end.len()).position(|w| w == end);
    let body = bytes.split_off(at.ok_or_else(not_http)? + end.len());
    let head = std::str::from_utf8(&bytes).map_err(|_| not_http())?;
    let mut lines = head.split("\r\n");
    let code = lines.next().and_then(code).ok_or_else(not_http)?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| not_http())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let found = format!("the answer has the transfer encoding `{}`", value.trim());
            return Err(io::Error::new(ErrorKind::Unsupported, found));
        }
    }
    match length {
        Some(length) if length != body.len() => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("the answer should have {length} bytes and has {}", body.len()),
        )),
        _ => Ok(Answer { code, body }),
    }
}

/// That of a status line.
fn code(line: &str) -> Option<u16> {
    let mut words = line.split(' ');
    let version = words.next()?;
    let code = words.next()?;
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    (version.starts_with("HTTP/1.") && is_code).then(|| code.parse().ok())?
}

fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A stream on which all reads and writes together end in time.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Timed<'_> {
    /// Never zero, which would be without a limit.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(u16, String), ErrorKind> {
        let answer = answer(text.as_bytes().to_vec()).map_err(|e| e.kind())?;
        Ok((answer.code, String::from_utf8(answer.body).unwrap()))
    }

    #[test]
    fn answers() {
        let (ok, busy) = ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 409 Conflict\r\n");
        let read_as = |code, body: &str| Ok((code, body.to_owned()));
        assert_eq!(
            read(&format!("{ok}Content-Length: 2\r\n\r\n{{}}")),
            read_as(200, "{}")
        );
        assert_eq!(read(&format!("{busy}\r\n\r\n")), read_as(409, "\r\n"));
        assert_eq!(read("HTTP/1.0 204\r\n\r\n"), read_as(204, ""));
        for (cut, why) in [
            (
                format!("{ok}content-length: 3\r\n\r\n{{}}"),
                ErrorKind::UnexpectedEof,
            ),
            (
                format!("{ok}content-length: 1\r\n\r\n{{}}"),
                ErrorKind::UnexpectedEof,
            ),
            (format!("{ok}content-length: -1\r\n\r\n"), ErrorKind::InvalidData),
            (
                format!("{ok}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
                ErrorKind::Unsupported,
            ),
            (ok.to_owned(), ErrorKind::InvalidData),
            ("\r\n\r\n".to_owned(), ErrorKind::InvalidData),
            ("HTTP/1.1 +20 OK\r\n\r\n".to_owned(), ErrorKind::InvalidData),
            ("SSH-2.0 200 OK\r\n\r\n".to_owned(), ErrorKind::InvalidData),
            (
                format!("{ok}x: {}\r\n\r\n", "x".repeat(MAX_HEAD)),
                ErrorKind::InvalidData,
            ),
        ] {
            assert_eq!(read(&cut), Err(why), "{cut:.60}");
        }
    }

    #[test]
    fn a_peer_that_says_little_or_nothing_is_given_up() {
        let soon = Duration::from_millis(100);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let began = Instant::now();
        let drip = std::thread::spawn(move || {
            let mut stream = &theirs;
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let e = exchange(&ours, "GET", "/", b"", soon).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
        assert!(began.elapsed() >= soon);
        drop(ours);
        drip.join().unwrap();

        let (ours, _theirs) = UnixStream::pair().unwrap();
        let more = vec![b'x'; 8 << 20];
        let e = exchange(&ours, "POST", "/", &more, soon).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
    }

    #[test]
    fn an_answer_before_the_request_was_read_counts() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"HTTP/1.1 413 Too Long\r\n\r\n").unwrap();
        drop(theirs);
        let answer = exchange(&ours, "POST", "/", b"x", Duration::from_secs(5)).unwrap();
        assert_eq!(answer.code, 413);
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let e = exchange(&ours, "GET", "/", b"", Duration::from_secs(5)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::UnexpectedEof, "{e}");
    }

    /// It neither accepts nor has room for one more.
    #[test]
    fn a_full_listener_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let soon = Duration::from_millis(50);
        let queued: Vec<_> = (0..8).map_while(|_| connect(&path, soon).ok()).collect();
        assert!((1..8).contains(&queued.len()), "{queued:?}");
    }
}
