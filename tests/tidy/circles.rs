//! Files that need each other cannot be understood one at a time, so each such circle is broken, or stands here with its reason.
//!
//! What a file takes from the `mod.rs` above it is no edge: a folder is one thing, and its parts may know what it is. What is
//! taken through a re-export is an edge to the file where it is made.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token};
use super::{CRATES, check};

/// The circles that are meant, each by its crate and one of its files, with the reason.
const MEANT: &[(&str, &str, &str)] = &[
    ("src", "inputs/serve/door", "a door lets in, and what lets in is a part of the door"),
    ("src", "app/build", "a gateway is built of its parts, and a part reads the gateway that it belongs to"),
    (
        "src",
        "cli/azure/template/arm",
        "one template in three languages: each quotes the commands of the others for people",
    ),
    (
        "src",
        "config/load",
        "loading is a pipeline over one document; a problem of any step is told with the place that another step found",
    ),
    ("src", "ingest/sort", "what an event costs is counted where events are sorted, and bounded by the settings"),
    ("src", "ingest/bookkeeper", "the bookkeeper tells what is lost with its own books open"),
    (
        "src",
        "inputs/protocol",
        "the seam names what every protocol is handed, and the parts of the way name the protocol",
    ),
    (
        "src",
        "outputs/output",
        "the seam names the identity that outputs share, and identities post with what outputs post with",
    ),
    ("src", "outputs/file/writer", "a writer keeps its position, and a position says how a write failed"),
    ("crates/core/src", "event/columns/convert", "a table's writer converts values, and converting chooses the writer"),
    (
        "crates/core/src",
        "event/from_json",
        "the computers of an upload are read without decoding it, with the reader's own names",
    ),
    (
        "crates/core/src",
        "event/document/json_system",
        "two halves of one shape: what stands in System, and what is told beside it",
    ),
    ("crates/core/src", "filter/dcr/template/expression", "expressions hold names, and a name may hold an expression"),
    ("crates/core/src", "filter/xpath/parse/lexer", "a hint reads on where the lexer stopped"),
    ("crates/core/src", "filter/xpath/program/walk", "conditions are tested within walks, and walks within conditions"),
    (
        "crates/spool/src",
        "dedup/memory/stream",
        "a record is a key of a stream, and a stream says of which kind its keys are; its chunks lie in blocks of its entries",
    ),
    (
        "crates/spool/src",
        "dedup/redis/engine",
        "a call is made with the engine's state, and the engine makes the calls",
    ),
    ("crates/spool/src", "spool/committer", "the thread that writes, and what those who wait share with it"),
    ("crates/spool/src", "spool/cursor/state", "the journal is the state in time, the state is the journal folded"),
    ("crates/spool/src", "spool/dead_letter/letter", "a letter, and its line on the disk"),
    (
        "crates/net/src",
        "tunnel/serve/visit",
        "one conversation: arrival at the door, a tunnel, or a request without one",
    ),
    ("crates/lab/src", "events", "an event, the catalogue that it is drawn from, and its three shapes"),
];

type Path = Vec<String>;

/// The files of one crate, by module.
struct Crate {
    files: BTreeMap<Path, File>,
}

struct File {
    /// The names that its `use` brings, and where from.
    brought: BTreeMap<String, Path>,
    /// What it takes from elsewhere.
    taken: Vec<Path>,
}

#[test]
fn files_do_not_run_in_circles() {
    let mut problems = Vec::new();
    for krate in CRATES {
        let circles = Crate::read(krate).circles();
        for circle in &circles {
            let names: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
            if !MEANT.iter().any(|(of, one, _)| *of == krate && names.iter().any(|name| name == one)) {
                problems.push(format!("{krate}: {} need each other", names.join(", ")));
            }
        }
        for (_, one, _) in MEANT.iter().filter(|(of, ..)| *of == krate) {
            if !circles.iter().flatten().any(|module| module.join("/") == *one) {
                problems.push(format!("{krate}: {one} is in no circle any more: take it out of tests/tidy/circles.rs"));
            }
        }
    }
    check(problems);
}

impl Crate {
    fn read(krate: &str) -> Self {
        let sources = Source::all(krate).into_iter().filter(|source| !source.only_tests);
        Self { files: sources.map(|source| (source.module_path(), File::read(&source.tokens))).collect() }
    }

    /// The sets of files that reach each other.
    fn circles(&self) -> Vec<Vec<Path>> {
        let next: BTreeMap<&Path, BTreeSet<&Path>> =
            self.files.keys().map(|module| (module, self.neighbours(module))).collect();
        let reached: BTreeMap<&Path, BTreeSet<&Path>> = next.keys().map(|from| (*from, reach(from, &next))).collect();
        let mut told = BTreeSet::new();
        let mut circles = Vec::new();
        for (from, to) in &reached {
            let circle: Vec<&Path> = to.iter().copied().filter(|other| reached[*other].contains(from)).collect();
            if circle.len() > 1 && circle.iter().all(|module| told.insert(*module)) {
                circles.push(circle.into_iter().cloned().collect());
            }
        }
        circles
    }

    fn neighbours(&self, module: &Path) -> BTreeSet<&Path> {
        let found = self.files[module].taken.iter().filter_map(|path| self.made_in(module, path, 0));
        found.filter(|other| !module.starts_with(other)).collect()
    }

    /// The file in which what a path names is made, seen from a module.
    fn made_in(&self, module: &Path, path: &[String], depth: usize) -> Option<&Path> {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Path::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => (module[..module.len().checked_sub(ups)?].to_vec(), &path[ups..]),
            child => {
                let below = [module.as_slice(), &[child.to_owned()]].concat();
                self.files.contains_key(&below).then_some((below, &path[1..]))?
            }
        };
        while let Some((name, after)) = rest.split_first() {
            at.push(name.clone());
            if !self.files.contains_key(&at) {
                at.pop();
                break;
            }
            rest = after;
        }
        let (here, file) = self.files.get_key_value(&at)?;
        match rest.first().and_then(|name| file.brought.get(name)) {
            Some(from) if depth < 8 => self.made_in(here, &[from.as_slice(), &rest[1..]].concat(), depth + 1),
            _ => Some(here),
        }
    }
}

fn reach<'c>(from: &'c Path, next: &BTreeMap<&'c Path, BTreeSet<&'c Path>>) -> BTreeSet<&'c Path> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(module) = waiting.pop() {
        waiting.extend(next[module].iter().copied().filter(|other| reached.insert(*other)));
    }
    reached
}

impl File {
    fn read(tokens: &[Token]) -> Self {
        let mut file = Self { brought: BTreeMap::new(), taken: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at].text == "use" && tokens.get(at + 1).is_some_and(|next| next.text != "<") {
                let is_public = before(tokens, at);
                let mut end = at + 1;
                file.import(&mut end, tokens, &Path::new(), is_public);
                at = end;
            } else if let Some(length) = path_length(tokens, at) {
                file.taken.push((0..length).map(|n| tokens[at + 3 * n].text.clone()).collect());
                at += 3 * length - 2;
            } else {
                at += 1;
            }
        }
        file
    }

    /// One tree of a `use`, from `at` to behind it.
    fn import(&mut self, at: &mut usize, tokens: &[Token], prefix: &Path, is_public: bool) {
        let mut path = prefix.clone();
        while *at < tokens.len() {
            let text = tokens[*at].text.as_str();
            *at += 1;
            match text {
                ":" => {}
                "{" => {
                    while *at < tokens.len() && !["}", ";"].contains(&tokens[*at].text.as_str()) {
                        self.import(at, tokens, &path, is_public);
                        *at += usize::from(tokens.get(*at).is_some_and(|token| token.text == ","));
                    }
                    *at += 1;
                    return;
                }
                "," | ";" | "}" | "as" => {
                    *at -= usize::from(text != "as");
                    break;
                }
                name => path.push(name.to_owned()),
            }
        }
        let renamed =
            tokens.get(*at).filter(|_| *at > 0 && tokens[*at - 1].text == "as").map(|token| token.text.clone());
        *at += usize::from(renamed.is_some());
        if path.last().is_some_and(|name| name == "self") && path.len() > 1 {
            path.pop();
        }
        let Some(name) = renamed.or_else(|| path.last().cloned()) else { return };
        if !is_public {
            self.taken.push(path.clone());
        }
        self.brought.insert(name, path);
    }
}

/// Whether a `use` hands on what it brings.
fn before(tokens: &[Token], at: usize) -> bool {
    let last = tokens[..at].iter().rev().map(|token| token.text.as_str()).take(8).collect::<Vec<_>>();
    match last.first() {
        Some(&"pub") => true,
        Some(&")") => last.iter().position(|text| *text == "(").is_some_and(|open| last.get(open + 1) == Some(&"pub")),
        _ => false,
    }
}

/// How many names a path that begins here has; none where no path of several begins.
fn path_length(tokens: &[Token], at: usize) -> Option<usize> {
    let is_name = |at: usize| {
        tokens.get(at).is_some_and(|token| token.text.starts_with(|first: char| first.is_alphabetic() || first == '_'))
    };
    let colons = |at: usize| tokens.len() > at + 1 && tokens[at].text == ":" && tokens[at + 1].text == ":";
    if !is_name(at) || at >= 1 && matches!(tokens[at - 1].text.as_str(), ":" | ".") {
        return None;
    }
    let names = 1 + (0..).take_while(|n| colons(at + 3 * n + 1) && is_name(at + 3 * n + 3)).count();
    (names > 1).then_some(names)
}
