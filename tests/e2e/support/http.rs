//! As much HTTP/1.1 as the stand-ins and the tests speak with each other: a head, a body of known
//! length, one exchange for each connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The request line or the status line.
    pub start: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Exchange {
    /// Reads one; `None` when the other side closed before it began. What comes after it on the
    /// connection is lost.
    ///
    /// # Errors
    ///
    /// It broke off.
    pub fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let stream = &mut BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let start = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            line.split_once(':')
                .map(|(n, v)| (n.trim().to_lowercase(), v.trim().to_owned()))
        };
        let mut exchange = Self {
            start,
            headers: lines.filter_map(header).collect(),
            body: Vec::new(),
        };
        if exchange
            .header("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
        {
            exchange.body = chunks(stream)?;
            exchange
                .headers
                .retain(|(name, _)| name != "transfer-encoding");
        } else if let Some(length) = exchange
            .header("content-length")
            .and_then(|value| value.parse().ok())
        {
            exchange.body = vec![0; length];
            stream.read_exact(&mut exchange.body)?;
        } else if exchange.start.starts_with("HTTP/")
            && !["204", "304"].iter().any(|s| exchange.start.contains(s))
        {
            stream.read_to_end(&mut exchange.body)?;
        }
        Ok(Some(exchange))
    }

    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The bytes of it, for a connection that closes after it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| name != "connection" && name != "content-length")
        {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "content-length: {}\r\nconnection: close\r\n\r\n",
            self.body.len()
        ));
        [head.into_bytes(), self.body.clone()].concat()
    }

    /// The status of an answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = String::from_utf8_lossy(&line)
            .trim()
            .split(';')
            .next()
            .map(|n| usize::from_str_radix(n, 16));
        let Some(Ok(length)) = length else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(all);
        }
        chunk.truncate(length);
        all.extend(chunk);
    }
}

/// Sends a request to `http://127.0.0.1:port` and reads the answer.
///
/// # Errors
///
/// The connection failed.
pub fn send(url: &str, request: &Exchange) -> io::Result<Exchange> {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(&request.bytes())?;
    Exchange::read(&mut stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
