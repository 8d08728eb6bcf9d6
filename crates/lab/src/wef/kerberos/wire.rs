//! One connection, and the requests on it in their order: a context of Kerberos belongs to its connection, so no pool of them
//! will do. Tests write on it what no client would.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The largest answer that is read.
const ANSWER_MAX: usize = 4 << 20;

/// A connection.
pub struct Wire {
    stream: BufReader<TcpStream>,
    host: String,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its fields, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_owned() })
    }

    /// Posts a body, whose length is told.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Reply> {
        let mut request =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Microsoft WinRM Client\r\n", self.host);
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.write(request.as_bytes()).await?;
        self.write(body).await?;
        self.reply().await
    }

    /// Writes any bytes.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads the next answer.
    ///
    /// # Errors
    ///
    /// When none comes, or what comes is none.
    pub async fn reply(&mut self) -> anyhow::Result<Reply> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut reply =
            Reply { status: status.with_context(|| format!("{first:?} is no status"))?, ..Reply::default() };
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            reply.headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let length = reply.header("content-length").map_or(Ok(0), str::parse)?;
        if length > ANSWER_MAX {
            bail!("an answer of {length} bytes");
        }
        reply.body.resize(length, 0);
        self.stream.read_exact(&mut reply.body).await?;
        Ok(reply)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(128 << 10).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            bail!("the connection was closed");
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
