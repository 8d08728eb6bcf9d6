//! An engine that answers as it is told: for the tests of what a real one does once in a year.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a call of the script, or of another command.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// As it should be: whatever is claimed is new, whatever is confirmed is won.
    Sound,
    /// These bytes.
    Bytes(&'static str),
    /// None, for as long as the connection stands.
    Never,
    /// The connection ends.
    Close,
}

type Scripted = dyn Fn(&[Vec<u8>]) -> Answer + Send + Sync;

/// The engine, and what it was asked.
pub(super) struct Engine {
    pub(super) port: u16,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) asked: Arc<Mutex<Vec<Vec<Vec<u8>>>>>,
}

#[derive(Clone)]
struct Served {
    script: Arc<Scripted>,
    asked: Arc<Mutex<Vec<Vec<Vec<u8>>>>>,
    strings: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>,
}

impl Engine {
    /// Answers each command as `script` says of its words.
    pub(super) async fn start(script: impl Fn(&[Vec<u8>]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, asked) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let served = Served { script: Arc::new(script), asked: Arc::clone(&asked), strings: Arc::default() };
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let served = served.clone();
                tokio::spawn(async move { serve(stream, served).await });
            }
        });
        Self { port, connections, asked }
    }

    /// The calls of the script so far.
    pub(super) fn calls(&self) -> Vec<Vec<Vec<u8>>> {
        let asked = self.asked.lock();
        asked.iter().filter(|words| words[0] == b"EVALSHA").cloned().collect()
    }

    /// How often this command came.
    pub(super) fn count(&self, command: &str) -> usize {
        self.asked.lock().iter().filter(|words| words[0] == command.as_bytes()).count()
    }
}

async fn serve(stream: TcpStream, served: Served) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = command(&mut stream).await {
        served.asked.lock().push(words.clone());
        let answer = match (served.script)(&words) {
            Answer::Sound => sound(&words, &served),
            Answer::Bytes(bytes) => bytes.as_bytes().to_vec(),
            Answer::Never => std::future::pending().await,
            Answer::Close => return,
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    words[0].make_ascii_uppercase();
    Some(words)
}

async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim().get(1..)?.parse().ok()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn sound(words: &[Vec<u8>], served: &Served) -> Vec<u8> {
    let mut strings = served.strings.lock();
    match &*words[0] {
        b"INFO" => bulk(b"role:master\r\nmaster_replid:one\r\nmaxmemory_policy:noeviction\r\n"),
        b"SCRIPT" => bulk(b"hash"),
        b"SET" => {
            strings.entry(words[1].clone()).or_insert_with(|| words[2].clone());
            b"+OK\r\n".to_vec()
        }
        b"GET" => strings.get(&words[1]).map_or_else(|| b"$-1\r\n".to_vec(), |value| bulk(value)),
        b"TIME" => b"*2\r\n$9\r\n864000000\r\n$1\r\n0\r\n".to_vec(),
        b"HGETALL" => b"*0\r\n".to_vec(),
        b"HSET" => b":1\r\n".to_vec(),
        b"EVALSHA" => evaluated(words),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// The answer of the script to its operations.
fn evaluated(words: &[Vec<u8>]) -> Vec<u8> {
    let of = |word: &[u8]| std::str::from_utf8(word).unwrap().parse::<usize>().unwrap();
    let mut rest = &words[3 + of(&words[2]) + 1..];
    let mut answers = vec![b":1\r\n".to_vec()];
    while let Some(operation) = rest.first() {
        let (answer, length) = match &**operation {
            b"C" => {
                let pages = of(&rest[4]);
                ([format!("*{}\r\n:-1\r\n", 1 + pages).into_bytes(), bulk(b"").repeat(pages)].concat(), 6)
            }
            b"c" => ([&b"*2\r\n:-1\r\n"[..], &bulk(&vec![0; rest[5].len() / 16 * 6])].concat(), 6),
            b"K" => (b":1\r\n".to_vec(), 4 + of(&rest[3])),
            b"k" => (b":1\r\n".to_vec(), 5),
            b"R" => (b":1\r\n".to_vec(), 2),
            b"r" => (b":1\r\n".to_vec(), 3),
            other => panic!("{other:?}"),
        };
        answers.push(answer);
        rest = &rest[length..];
    }
    [format!("*{}\r\n", answers.len()).into_bytes(), answers.concat()].concat()
}
