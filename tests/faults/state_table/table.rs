//! The table of the state directory: what the damage of each file comes to, and what to do.
//!
//! This is the one place of what is expected. `tests/faults/state_table` really does each cell and compares; `tests/reference`
//! prints the table into the runbook.

#![allow(dead_code, clippy::allow_attributes, reason = "each of the two suites uses its own part of this")]

use std::fmt::Write as _;

/// What happens to a file while no gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Deleted.
    Lost,
    /// Its second half is gone.
    Cut,
    /// One bit is another one.
    Flipped,
    /// As the version before this one wrote it.
    Older,
    /// It is there, and nothing else: a backup of this file put into a new state directory.
    Alone,
}

use Damage::{Alone, Cut, Flipped, Lost as Gone, Older};

/// How the gateway starts after that. Tunnels are served in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Ready.
    Ready,
    /// It refuses uploads, for this reason on `/readyz`.
    Held(&'static str),
}

/// What becomes of events that were acknowledged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    /// Those that were not forwarded are gone, until agents send them again.
    UntilRepeated,
    /// They are gone, and do not arrive when they are sent again either.
    ForGood,
}

/// What a damage comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) start: Start,
    pub(crate) lost: Lost,
    /// Whether something that was forwarded goes again: with an older position, or when agents repeat it.
    pub(crate) twice: bool,
    /// Whether that depends on what was hit.
    pub(crate) by_chance: bool,
    /// The series that tell of it.
    pub(crate) told: &'static [&'static str],
    /// Whether `gatepost audit` adds up.
    pub(crate) audit: bool,
}

/// Some damages of a file that come to the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// A path in the state directory; `*` stands for any name, ` + ` for several files at once.
    pub(crate) file: &'static str,
    pub(crate) damages: &'static [Damage],
    pub(crate) then: Outcome,
    /// What the gateway does, and what a person has to do.
    pub(crate) act: &'static str,
}

const NOTHING: Outcome =
    Outcome { start: Start::Ready, lost: Lost::Nothing, twice: false, by_chance: false, told: &[], audit: true };

const SECRET: &[&str] = &["gatepost_state_damaged_total{part=secret}"];
const RULES: &[&str] = &["gatepost_state_damaged_total{part=rules}"];
const CERTIFICATE: &[&str] = &["gatepost_state_damaged_total{part=certificate}"];
const LETTERS: &[&str] = &["gatepost_dead_letters_lost_total", "gatepost_state_damaged_total{part=dead_letters}"];
const TOKEN_KEYS: &[&str] = &["gatepost_state_damaged_total{part=token_keys}"];
const DEDUP: &[&str] = &["gatepost_state_damaged_total{part=dedup}"];
const HOSTS: &[&str] = &["gatepost_state_damaged_total{part=hosts}"];
const AGENTS: &[&str] = &["gatepost_state_damaged_total{part=agents}"];
const LEDGER: &[&str] = &["gatepost_state_damaged_total{part=ledger}"];

const POSITION_GONE: &[&str] = &["gatepost_output_positions_lost_total{output=soc,cause=missing}"];
const POSITION_DAMAGED: &[&str] = &["gatepost_output_positions_lost_total{output=soc,cause=damaged}"];
const POSITIONS_GONE: &[&str] = &[
    "gatepost_output_positions_lost_total{output=files,cause=missing}",
    "gatepost_output_positions_lost_total{output=soc,cause=missing}",
];
const SPOOL_ALONE: &[&str] = &[
    "gatepost_output_positions_lost_total{output=files,cause=missing}",
    "gatepost_output_positions_lost_total{output=soc,cause=missing}",
    "gatepost_state_damaged_total{part=secret}",
];
const DAMAGED: &[&str] = &["gatepost_spool_damaged_events_total"];

const SPOOL_LOST: Outcome = Outcome { lost: Lost::UntilRepeated, ..told(DAMAGED) };

const fn told(told: &'static [&'static str]) -> Outcome {
    Outcome { told, ..NOTHING }
}

/// The rest of the state is gone, and with it what was not forwarded and what dedup remembered.
const ONLY_THIS: Outcome = Outcome { lost: Lost::UntilRepeated, twice: true, ..NOTHING };

const fn row(file: &'static str, damages: &'static [Damage], then: Outcome, act: &'static str) -> Row {
    Row { file, damages, then, act }
}

/// Everything.
pub(crate) const TABLE: &[Row] = &[
    row("secret.key", &[Gone, Cut, Flipped], told(SECRET), "made anew from `secret.copy`"),
    row("secret.key", &[Older], NOTHING, "gets its checksum and its copy"),
    row("secret.key", &[Alone], ONLY_THIS, "kept"),
    row("secret.copy", &[Gone, Cut, Flipped], NOTHING, "made anew from `secret.key`"),
    row(
        "secret.key + secret.copy",
        &[Gone, Cut, Flipped],
        Outcome { twice: true, ..told(SECRET) },
        "a new secret is made. Put a backup of `secret.key` there and restart, if there is one",
    ),
    row("lock", &[Gone], NOTHING, "made anew. Never delete it while a gateway runs"),
    row("reserve", &[Gone, Cut, Flipped], NOTHING, "space that is put by, made anew"),
    row("ledger.json", &[Gone], NOTHING, "the account begins with the oldest record that is kept"),
    row("ledger.json", &[Cut, Flipped], told(LEDGER), "put aside as `ledger.damaged`; the account begins anew"),
    row("ledger.json", &[Older], NOTHING, "gets its checksum"),
    row("ledger.json", &[Alone], ONLY_THIS, "the account goes on"),
    row("hosts.json", &[Gone], NOTHING, "who sends is learnt anew; who went silent before is not known"),
    row("hosts.json", &[Cut, Flipped], told(HOSTS), "put aside as `hosts.damaged`; the same"),
    row("hosts.json", &[Alone], ONLY_THIS, "who was there is waited for again"),
    row(
        "spool/*.seg",
        &[Gone, Cut],
        SPOOL_LOST,
        "the events of the lost records are counted, and taken again when they are sent again",
    ),
    row(
        "spool/*.seg",
        &[Flipped],
        Outcome { audit: false, ..NOTHING },
        "the record that was hit had been forwarded. One that an output still has to send is told and taken again like the above",
    ),
    row("spool/*.seg", &[Alone], Outcome { twice: true, ..told(SPOOL_ALONE) }, "outputs begin with the oldest event"),
    row(
        "outputs/soc.cursor",
        &[Gone],
        Outcome { twice: true, ..told(POSITION_GONE) },
        "begins with the oldest event that is kept; what may go twice counts as ambiguous",
    ),
    row(
        "outputs/soc.cursor",
        &[Cut, Flipped],
        Outcome { by_chance: true, ..told(POSITION_DAMAGED) },
        "an older position: what may go twice counts as ambiguous",
    ),
    row(
        "outputs/soc.cursor",
        &[Alone],
        Outcome { told: DAMAGED, ..ONLY_THIS },
        "new events get higher ordinals; what it had still to send counts as lost",
    ),
    row(
        "outputs.registry",
        &[Gone, Cut, Flipped],
        NOTHING,
        "made anew from the positions; no output is taken for a new one",
    ),
    row(
        "outputs.registry",
        &[Alone],
        Outcome { told: POSITIONS_GONE, ..ONLY_THIS },
        "outputs are known to have had a position, and it is said that it is gone",
    ),
    row(
        "decided",
        &[Gone, Cut, Flipped],
        NOTHING,
        "the gateway is a new one to the others, or asks them again; what others have as well counts as possible duplicates. Only with [several gateways](several-gateways.md)",
    ),
    row("rules-revision", &[Gone, Cut, Flipped], NOTHING, "the rules of the other gateways are taken over"),
    row("spool/damage.cursor", &[Gone, Cut, Flipped], NOTHING, "made anew; the total of damage begins at 0"),
    row("clock", &[Gone, Cut, Flipped], NOTHING, "begins with the wall clock; ages of what is older are not believed"),
    row("clock", &[Alone], ONLY_THIS, "goes on from there"),
    row("dedup/*.keys", &[Gone, Cut], Outcome { twice: true, ..NOTHING }, "what is gone is forgotten"),
    row("dedup/*.keys", &[Flipped], Outcome { twice: true, ..told(DEDUP) }, "what was hit is forgotten"),
    row("dedup/*.keys", &[Alone], ONLY_THIS, "without its `secret.key` it recognises nothing"),
    row(
        "dead-letters/*.ndjson",
        &[Gone, Cut, Flipped],
        told(LETTERS),
        "the letters that cannot be read are put aside as `*.damaged` and counted. Look at what is left of them there",
    ),
    row("dead-letters/*.ndjson", &[Older], NOTHING, "read; new letters get a checksum"),
    row("dead-letters/*.ndjson", &[Alone], ONLY_THIS, "the letters are there"),
    row(
        "dead-letters.kept",
        &[Gone, Cut, Flipped],
        NOTHING,
        "how many letters there are, counted anew; how many were displaced begins at 0",
    ),
    row("rules/*.json", &[Gone, Cut, Flipped], told(RULES), "made anew from `rules-copy/`"),
    row("rules/*.json", &[Older], NOTHING, "get their checksums and copies"),
    row("rules/*.json", &[Alone], ONLY_THIS, "the rules are in force"),
    row("rules-copy/*.json", &[Gone, Cut, Flipped], NOTHING, "made anew from `rules/`"),
    row(
        "rules/*.json + rules-copy/*.json",
        &[Cut, Flipped],
        Outcome { start: Start::Held("a rule cannot be read"), ..told(RULES) },
        "PUT the rule or association again, or `gatepost rules delete FILE`; see [a rule is damaged](#a-rule-is-damaged)",
    ),
    row(
        "tls/cert.pem",
        &[Gone, Cut, Flipped],
        told(CERTIFICATE),
        "a new certificate is made. Give it to the clients that trust the old one, or restore both files of `tls/` from a backup and restart",
    ),
    row("tls/key.pem", &[Gone, Cut, Flipped], told(CERTIFICATE), "the same"),
    row("tls/cert.pem + tls/key.pem", &[Gone], NOTHING, "a new certificate is made, as at the first start"),
    row("tls/cert.pem + tls/key.pem", &[Alone], ONLY_THIS, "clients go on to trust the gateway"),
    row(
        "entra/*.key",
        &[Cut, Flipped],
        told(TOKEN_KEYS),
        "left alone, and a new key is made; hosts get 401 and ask for new tokens",
    ),
    row("entra/*.key", &[Gone], NOTHING, "a new key is made; hosts get 401 and ask for new tokens"),
    row("entra/*.key", &[Alone], ONLY_THIS, "tokens stay good"),
    row("ods/agents.json", &[Gone, Cut, Flipped], told(AGENTS), "made anew from `ods/agents.copy`"),
    row("ods/agents.json", &[Alone], ONLY_THIS, "agents go on as they are registered"),
    row("ods/agents.copy", &[Gone, Cut, Flipped], NOTHING, "made anew from `ods/agents.json`"),
    row(
        "ods/agents.json + ods/agents.copy",
        &[Cut, Flipped],
        told(AGENTS),
        "put aside as `ods/agents.damaged`; agents get 403 and [register again](legacy.md)",
    ),
    row("ods/agents.json + ods/agents.copy", &[Gone], NOTHING, "agents get 403 and [register again](legacy.md)"),
    row("out/.position", &[Gone, Cut, Flipped], NOTHING, "begins a new file"),
    row(
        "out/*.ndjson",
        &[Gone, Cut, Flipped],
        NOTHING,
        "delivered, and no longer the gateway's to keep; it begins a new file",
    ),
];

/// The table as it stands in the runbook.
pub(crate) fn printed() -> String {
    let mut text = "\n| file | damage | the next start | not yet forwarded | forwarded again | counted | what is done, what to do |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for row in TABLE {
        let damages: Vec<&str> = row.damages.iter().map(|damage| damage.shown()).collect();
        let start = match row.then.start {
            Start::Ready => "ready".to_owned(),
            Start::Held(why) => format!("uploads get 503 (`{why}`)"),
        };
        let lost = match row.then.lost {
            Lost::Nothing => "arrives",
            Lost::UntilRepeated => "gone, until it is sent again",
            Lost::ForGood => "gone",
        };
        let mut counted: Vec<String> =
            row.then.told.iter().map(|told| format!("`{}`", told.replace('=', "=\"").replace('}', "\"}"))).collect();
        if !row.then.audit {
            counted.push("`gatepost audit` tells the difference".to_owned());
        }
        let (file, act) = (row.file.replace(" + ", "`, `"), row.act);
        let again = match (row.then.by_chance, row.then.twice) {
            (true, _) => "what the damage hit",
            (false, true) => "yes",
            (false, false) => "no",
        };
        let (damages, counted) = (damages.join(", "), counted.join(", "));
        writeln!(text, "| `{file}` | {damages} | {start} | {lost} | {again} | {counted} | {act} |").expect("text");
    }
    text + "\n"
}

impl Damage {
    fn shown(self) -> &'static str {
        match self {
            Gone => "lost",
            Cut => "cut",
            Flipped => "a bit flipped",
            Older => "from an older version",
            Alone => "restored alone",
        }
    }
}
