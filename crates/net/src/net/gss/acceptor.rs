//! The process that accepts tickets, seen from the gateway.
//!
//! The library of Kerberos is C, and reads bytes of hosts that nobody knows yet. So it runs in a process of its own: the gateway's
//! program, started again with a hidden command. Whatever the library does to that process, the gateway goes on, and so do all
//! connections that were accepted before, since their keys are here. The process gets one question at a time; one that ends it
//! fails alone, and the next one finds a new process. It ends with the gateway, whose end it sees on its input.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::lines::{self, LINE_MAX, NO_TOKEN, Question, Reply};

/// Questions that wait at once.
const WAITING_MAX: usize = 64;
/// How long a question waits for its turn. A thousand hosts that come at once are through in a fraction of it.
const TURN: Duration = Duration::from_secs(5);
/// How long an answer may take: no network is asked, only files.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest pause before a process that keeps ending is started again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What to start, and with which files.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program: its own one in a gateway.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The keys of the service.
    pub keytab: PathBuf,
    /// Where tickets are noted that were shown before. Its folder is made.
    pub replays: PathBuf,
}

/// Why there is no answer. Each passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptorError {
    /// Too many tickets at once.
    #[error("too many hosts show their tickets at once")]
    Busy,
    /// The process cannot be started, ended, or did not answer.
    #[error("the process that accepts tickets failed")]
    Failed,
}

/// Accepts tickets, in a process that is started when the first one comes.
pub struct Acceptor {
    program: Program,
    questions: OnceLock<mpsc::Sender<Asked>>,
}

struct Asked {
    question: Question,
    reply: oneshot::Sender<Option<Reply>>,
}

impl Acceptor {
    /// Starts nothing yet.
    pub fn new(program: Program) -> Self {
        Self { program, questions: OnceLock::new() }
    }

    /// What came of a token. Call it inside a runtime.
    ///
    /// What is no token is refused here: written as JSON it could be longer than any line, and the process would end.
    ///
    /// # Errors
    ///
    /// When nobody can say: the same token may be taken later.
    pub async fn ask(&self, question: Question) -> Result<Reply, AcceptorError> {
        if lines::read(&question.token).is_none() {
            return Ok(Reply::Refused(NO_TOKEN.to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.questions().send_timeout(Asked { question, reply }, TURN).await;
        sent.map_err(|_| AcceptorError::Busy)?;
        answer.await.ok().flatten().ok_or(AcceptorError::Failed)
    }

    fn questions(&self) -> &mpsc::Sender<Asked> {
        self.questions.get_or_init(|| {
            let (questions, asked) = mpsc::channel(WAITING_MAX);
            tokio::spawn(answer_all(self.program.clone(), asked));
            questions
        })
    }
}

/// Answers until nobody can ask any more.
async fn answer_all(program: Program, mut questions: mpsc::Receiver<Asked>) {
    let mut running = None;
    let mut failures = 0;
    while let Some(Asked { question, reply }) = questions.recv().await {
        if reply.is_closed() {
            continue;
        }
        let answered = match started(&program, &mut running, failures).await {
            Ok(process) => process.ask(&question).await,
            Err(error) => Err(error),
        };
        failures = if answered.is_ok() { 0 } else { failures + 1 };
        if let Err(error) = &answered {
            running = None;
            tracing::error!(%error, keytab = %program.keytab.display(), "the Kerberos worker process failed and is restarted");
        }
        // Who asked may have gone.
        reply.send(answered.ok()).ok();
    }
}

async fn started<'r>(
    program: &Program,
    running: &'r mut Option<Process>,
    failures: u32,
) -> io::Result<&'r mut Process> {
    if running.is_none() {
        if failures > 0 {
            sleep(PAUSE_MAX.min(Duration::from_millis(10 << failures.min(7)))).await;
        }
        *running = Some(Process::start(program)?);
    }
    Ok(running.as_mut().expect("it was just started"))
}

/// One that runs. It is killed when nobody needs it.
struct Process {
    _child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(program: &Program) -> io::Result<Self> {
        let Program { path, args, keytab, replays } = program;
        let replays = std::path::absolute(replays)?;
        std::fs::create_dir_all(replays.parent().unwrap_or(Path::new("/")))?;
        let mut child = Command::new(path)
            .args(args)
            .env("KRB5_KTNAME", named("FILE", &std::path::absolute(keytab)?))
            .env("KRB5RCACHENAME", named("file2", &replays))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let missing = || io::Error::other("it has no pipes");
        let (questions, answers) = (questions.ok_or_else(missing)?, answers.ok_or_else(missing)?);
        Ok(Self { _child: child, questions, answers: BufReader::new(answers) })
    }

    async fn ask(&mut self, question: &Question) -> io::Result<Reply> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
        timeout(ANSWER, self.answered(question)).await.map_err(late)?
    }

    async fn answered(&mut self, question: &Question) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        self.questions.write_all(&line).await?;
        self.questions.flush().await?;
        line.clear();
        (&mut self.answers).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"));
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// A file as the library of Kerberos has it named.
fn named(kind: &str, path: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from(format!("{kind}:"));
    name.push(path);
    name
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A shell in place of the process.
    fn acceptor(dir: &Path, script: &str) -> Acceptor {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let (keytab, replays) = (dir.join("keytab"), dir.join("kerberos/replays"));
        Acceptor::new(Program { path: "/bin/sh".into(), args, keytab, replays })
    }

    fn question(conversation: u64) -> Question {
        Question { conversation, token: "YQ==".to_owned() }
    }

    #[tokio::test]
    async fn the_process_knows_its_files_and_answers_one_after_the_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = r#"while read -r line; do echo "{\"Refused\":\"$KRB5_KTNAME $KRB5RCACHENAME\"}"; done"#;
        let acceptor = acceptor(dir.path(), script);
        let here = dir.path().display();
        let told = format!("FILE:{here}/keytab file2:{here}/kerberos/replays");
        for conversation in 0..3 {
            assert_eq!(acceptor.ask(question(conversation)).await, Ok(Reply::Refused(told.clone())));
        }
        assert!(dir.path().join("kerberos").is_dir());
    }

    #[tokio::test]
    async fn a_question_that_ends_the_process_fails_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = r#"while read -r line; do case $line in *:1,*) kill -SEGV $$;; *) echo "{\"Refused\":\"$$\"}";; esac; done"#;
        let acceptor = acceptor(dir.path(), script);
        let before = acceptor.ask(question(0)).await.expect("an answer");
        assert_eq!(acceptor.ask(question(1)).await, Err(AcceptorError::Failed));
        let after = acceptor.ask(question(2)).await.expect("an answer");
        assert_ne!(before, after, "it is another process");
    }

    #[tokio::test]
    async fn what_is_no_token_never_reaches_the_process_and_harms_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let script = r#"read -r line; echo "{\"Refused\":\"$$\"}"; read -r line; exit"#;
        let acceptor = acceptor(dir.path(), script);
        let first = acceptor.ask(question(0)).await.expect("an answer");
        for token in ["\"".repeat(70_000), "\\".repeat(70_000), "YQ==".repeat(1 << 15), "?".to_owned(), String::new()] {
            let told = acceptor.ask(Question { conversation: 1, token }).await;
            assert_eq!(told, Ok(Reply::Refused(NO_TOKEN.to_owned())));
        }
        assert_eq!(acceptor.ask(question(2)).await, Err(AcceptorError::Failed), "it was asked this second, and ended");
        assert_ne!(acceptor.ask(question(3)).await, Ok(first), "a question that ends it finds another one next");
    }

    #[tokio::test]
    async fn what_is_no_answer_and_a_program_that_is_not_there_are_failures() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(acceptor(dir.path(), "echo hello").ask(question(0)).await, Err(AcceptorError::Failed));
        assert_eq!(acceptor(dir.path(), "exit 1").ask(question(0)).await, Err(AcceptorError::Failed));
        let missing = Acceptor::new(Program { path: "/nowhere".into(), ..acceptor(dir.path(), "").program });
        assert_eq!(missing.ask(question(0)).await, Err(AcceptorError::Failed));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_told_to_come_back_when_too_many_wait() {
        let dir = tempfile::tempdir().expect("a folder");
        let acceptor = std::sync::Arc::new(acceptor(dir.path(), "exec sleep 1000"));
        let asking = (0..WAITING_MAX as u64 + 2).map(|conversation| {
            let acceptor = std::sync::Arc::clone(&acceptor);
            tokio::spawn(async move { acceptor.ask(question(conversation)).await })
        });
        let asking: Vec<_> = asking.collect();
        let answers = futures_util::future::join_all(asking).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Ok(Err(AcceptorError::Busy)))).count();
        assert_eq!(busy, 1, "{answers:?}");
    }
}
