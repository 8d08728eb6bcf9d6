//! Settings out of the text that PowerShell prints.

/// What the original was set to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) port: Option<u16>,
    pub(super) relay: Option<String>,
    pub(super) relay_user: Option<String>,
    pub(super) hosts: Vec<String>,
    pub(super) subjects: Vec<String>,
}

impl Settings {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings so far, and what was not understood.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) settings: Settings,
    pub(super) warnings: Vec<String>,
}

/// Which cmdlet's output a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Config,
    Relay,
    Hosts,
    Subjects,
    /// Another command's: its lines are none of ours.
    Other,
}

/// What a column or key is called, without case and punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Port,
    Relay,
    User,
    Password,
    Host,
    Subject,
    /// `Name` or `Key`, with the value beside it.
    Name,
    Value,
    /// What PowerShell adds to remote objects.
    Noise,
}

fn key(text: &str) -> Option<Key> {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match plain.to_ascii_lowercase().as_str() {
        "listenport" | "port" | "portnumber" => Key::Port,
        "address" | "relayproxy" | "proxy" | "proxyaddress" | "relayproxyaddress" => Key::Relay,
        "username" | "user" | "relayproxyusername" => Key::User,
        "password" | "relayproxypassword" => Key::Password,
        "host" | "hosts" | "hostname" | "allowedhost" | "allowedhosts" => Key::Host,
        "subject" | "subjects" | "certificatesubject" | "allowedclientcertificate" => Key::Subject,
        "name" | "key" | "setting" => Key::Name,
        "value" => Key::Value,
        "pscomputername" | "runspaceid" | "psshowcomputername" => Key::Noise,
        _ => return None,
    })
}

/// Where a file stands while it is read.
struct Place<'f> {
    file: &'f str,
    line: usize,
    section: Option<Section>,
    /// The columns of the table that is being read: where each begins, and its header.
    columns: Vec<(usize, String)>,
    /// The name in a list of names and values.
    name: Option<String>,
    /// Between the rows of asterisks around a transcript's head and foot.
    banner: bool,
}

impl Reading {
    /// Reads one file; what it says is added to what others said.
    pub(super) fn take(&mut self, file: &str, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let mut place = Place { file, line: 0, section: None, columns: Vec::new(), name: None, banner: false };
        for (n, line) in lines.iter().enumerate() {
            place.line = n + 1;
            if line.starts_with("*****") {
                place.banner = !place.banner;
            } else if line.is_empty() {
                place.columns.clear();
            } else if let Some(section) = command(line) {
                place = Place { section: Some(section), columns: Vec::new(), name: None, ..place };
            } else if place.banner || is_noise(line) {
            } else if is_ruler(line) && n > 0 && !lines[n - 1].is_empty() {
                place.columns = columns(lines[n - 1], line);
            } else if !lines.get(n + 1).is_some_and(|next| is_ruler(next)) {
                self.line(line, &mut place);
            }
        }
    }

    fn line(&mut self, line: &str, place: &mut Place<'_>) {
        if !place.columns.is_empty() {
            let row = cells(line, &place.columns);
            place.name = None;
            for (header, value) in row {
                self.pair(&header, &value, line, place);
            }
            return;
        }
        if let Some((name, value)) = line.split_once(':')
            && key(name).is_some()
        {
            return self.pair(name, value.trim(), line, place);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match (place.section, words.as_slice()) {
            (Some(Section::Config), [only]) => self.put(Key::Port, only, place),
            (Some(Section::Config | Section::Relay), [name, value]) if key(name).is_some() => {
                self.pair(name, value, line, place);
            }
            (Some(Section::Relay), [only]) => self.put(Key::Relay, only, place),
            (Some(Section::Hosts), [only]) => self.put(Key::Host, only, place),
            (Some(Section::Subjects), _) => self.put(Key::Subject, line.trim(), place),
            (Some(Section::Other), _) => {}
            _ => self.lost(place, line),
        }
    }

    /// A value with what stands before or above it.
    fn pair(&mut self, name: &str, value: &str, line: &str, place: &mut Place<'_>) {
        let natural = match place.section {
            Some(Section::Hosts) => Some(Key::Host),
            Some(Section::Subjects) => Some(Key::Subject),
            _ => None,
        };
        match (key(name), natural) {
            (Some(Key::Noise | Key::Password), _) => {}
            (Some(Key::Name | Key::Value), Some(natural)) => self.put(natural, value, place),
            (Some(Key::Name), None) => place.name = Some(value.to_owned()),
            (Some(Key::Value), None) => match place.name.take().as_deref().map(key) {
                Some(Some(named)) if !matches!(named, Key::Name | Key::Value) => self.put(named, value, place),
                _ => self.lost(place, line),
            },
            // A transcript's head has a user name too, and that is nobody's proxy.
            (Some(Key::User), _) if place.section != Some(Section::Relay) && self.settings.relay.is_none() => {
                self.lost(place, line);
            }
            (Some(known), _) => self.put(known, value, place),
            (None, _) => self.lost(place, line),
        }
    }

    fn put(&mut self, key: Key, value: &str, place: &Place<'_>) {
        let value = value.trim().trim_matches(|c| matches!(c, '"' | '\'')).trim();
        if value.ends_with("...") || value.ends_with('…') {
            return self.warn(place, "the value is cut off; print it again with \"| Format-List\"");
        }
        if value.is_empty() || value == "{}" {
            return;
        }
        let listed = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
        match key {
            Key::Port => match value.parse() {
                Ok(port) if port > 0 => self.settings.port = Some(port),
                _ => self.warn(place, "this is no port"),
            },
            Key::Relay => self.settings.relay = Some(value.to_owned()),
            Key::User => self.settings.relay_user = Some(value.to_owned()),
            Key::Host => {
                for host in listed.unwrap_or(value).split(',').map(str::trim) {
                    add(&mut self.settings.hosts, host);
                }
            }
            Key::Subject => {
                // A subject has commas of its own.
                for subject in listed.unwrap_or(value).replace(", CN=", "\nCN=").lines().map(str::trim) {
                    add(&mut self.settings.subjects, if listed.is_some() { subject } else { value });
                }
            }
            Key::Password | Key::Name | Key::Value | Key::Noise => {}
        }
    }

    fn lost(&mut self, place: &Place<'_>, line: &str) {
        let shown: String = line.trim().chars().filter(|c| !c.is_control()).take(80).collect();
        let hint = if place.section.is_none() { "; put the name of the cmdlet above its output" } else { "" };
        self.warn(place, &format!("not understood: {shown}{hint}"));
    }

    fn warn(&mut self, place: &Place<'_>, message: &str) {
        self.warnings.push(format!("{}:{}: {message}", place.file, place.line));
    }
}

fn add(list: &mut Vec<String>, text: &str) {
    if !text.is_empty() && !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

/// The section that a command opens. A line with a prompt is a command, whichever.
fn command(line: &str) -> Option<Section> {
    let lower = line.to_ascii_lowercase();
    for word in lower.split(|c: char| c.is_whitespace() || matches!(c, '>' | '|' | ';' | '(' | ')')) {
        let Some((_, noun)) = word.split_once("-omsgateway") else { continue };
        return Some(match (word.starts_with("get-"), noun) {
            (true, "config") => Section::Config,
            (true, "relayproxy") => Section::Relay,
            (true, "allowedhost") => Section::Hosts,
            (true, "allowedclientcertificate") => Section::Subjects,
            _ => Section::Other,
        });
    }
    (lower.starts_with("ps ") && lower.contains('>')).then_some(Section::Other)
}

fn is_noise(line: &str) -> bool {
    let lower = line.trim_start().to_ascii_lowercase();
    ["warning:", "transcript started", "transcript stopped", "verbose:"].iter().any(|start| lower.starts_with(start))
}

/// The row of dashes below the headers of a table.
fn is_ruler(line: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    words.peek().is_some() && words.all(|word| word.len() > 1 && word.bytes().all(|b| b == b'-'))
}

fn columns(headers: &str, ruler: &str) -> Vec<(usize, String)> {
    let dashes: Vec<bool> = ruler.chars().map(|c| c == '-').collect();
    let starts: Vec<usize> = (0..dashes.len()).filter(|n| dashes[*n] && (*n == 0 || !dashes[n - 1])).collect();
    slices(headers, &starts).zip(starts.iter().copied()).map(|(header, start)| (start, header)).collect()
}

fn cells(line: &str, columns: &[(usize, String)]) -> Vec<(String, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let headers = columns.iter().map(|(_, header)| header.clone());
    // Numbers stand at the right of their column and may begin before it.
    if words.len() == columns.len() {
        return headers.zip(words.into_iter().map(str::to_owned)).collect();
    }
    let starts: Vec<usize> = columns.iter().map(|(start, _)| *start).collect();
    headers.zip(slices(line, &starts).collect::<Vec<_>>()).collect()
}

/// A line cut at the places where columns begin; the first takes what stands before it too.
fn slices<'l>(line: &'l str, starts: &'l [usize]) -> impl Iterator<Item = String> + 'l {
    starts.iter().enumerate().map(move |(n, start)| {
        let from = if n == 0 { 0 } else { *start };
        let to = starts.get(n + 1).copied().unwrap_or(usize::MAX);
        line.chars().skip(from).take(to - from).collect::<String>().trim().to_owned()
    })
}
