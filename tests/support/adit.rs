//! The program under test: its configuration, its processes, its log.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::kernel::{self, Kernel};
use super::terminal::{Terminal, take_terminal_away};
use super::{DEADLINE, poll_for, proc, stand_in};

/// A configuration that has not been started, in its own temporary folder.
pub struct Plan {
    folder: TempDir,
    globals: Vec<String>,
    services: Vec<(String, String)>,
    verbatim: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    user: Option<(u32, u32)>,
    foreground: bool,
    program: PathBuf,
    open_files: Option<u32>,
    kernel: Option<Kernel>,
}

/// The remains of a program that exited by itself.
pub struct Outcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// All its output: standard output, standard error and the log file.
    pub said: String,
    /// Keeps the folder that `said` may mention.
    pub folder: TempDir,
}

impl Outcome {
    /// Fails unless every one of `phrases` is in the output.
    #[track_caller]
    pub fn says(&self, phrases: &[&str]) -> &Self {
        for phrase in phrases {
            assert!(
                self.said.contains(phrase),
                "nothing said {phrase:?} in:\n{}",
                self.said
            );
        }
        self
    }

    /// Fails unless this is its exit status.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "said:\n{}", self.said);
        self
    }
}

/// The program's path: adit as cargo built it, or the stand-in.
pub fn program() -> PathBuf {
    stand_in().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_adit")))
}

impl Plan {
    /// An empty folder that root's children may enter.
    pub fn new() -> Plan {
        let folder = tempfile::Builder::new()
            .prefix("adit-test-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        Plan {
            folder,
            globals: Vec::new(),
            services: Vec::new(),
            verbatim: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
            foreground: true,
            program: program(),
            open_files: None,
            kernel: None,
        }
    }

    /// The folder of the configuration and the log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds lines before the first section. A line given here replaces the harness's own line of that
    /// name.
    pub fn global(mut self, lines: impl AsRef<str>) -> Plan {
        self.globals
            .extend(lines.as_ref().lines().map(|line| line.trim().to_owned()));
        self
    }

    /// Adds a section; without an `accept`, or an `sni` or a program in its place, it gets `127.0.0.1:0`.
    pub fn service(mut self, name: &str, lines: impl Into<String>) -> Plan {
        self.services.push((name.to_owned(), lines.into()));
        self
    }

    /// The file's exact text; the harness adds no line.
    pub fn verbatim(mut self, text: impl Into<String>) -> Plan {
        self.verbatim = Some(text.into());
        self
    }

    /// The arguments, instead of the configuration's path.
    pub fn arguments(mut self, arguments: &[&str]) -> Plan {
        self.arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        self
    }

    /// An environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Plan {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it as this user and group, which then own the folder.
    pub fn user(mut self, uid: u32, gid: u32) -> Plan {
        self.user = Some((uid, gid));
        self
    }

    /// Lets it daemonise; a `pid` option must say where to find it.
    pub fn daemon(mut self) -> Plan {
        self.foreground = false;
        self
    }

    /// Another program instead of the one under test.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Plan {
        self.program = path.into();
        self
    }

    /// How many descriptors each of its processes may have (`ulimit -n`).
    pub fn open_files(mut self, count: u32) -> Plan {
        self.open_files = Some(count);
        self
    }

    /// Runs it on another kernel than this machine's.
    pub fn kernel(mut self, kernel: Kernel) -> Plan {
        self.kernel = Some(kernel);
        self
    }

    /// Where the configuration is written.
    pub fn file(&self) -> PathBuf {
        self.folder().join("adit.conf")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }

    fn text(&self) -> String {
        if let Some(text) = &self.verbatim {
            return text.clone();
        }
        let given = |name: &str| self.globals.iter().any(|line| line.starts_with(name));
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let own = [
            (
                "foreground",
                if self.foreground {
                    "foreground = yes"
                } else {
                    "foreground = no"
                }
                .to_owned(),
            ),
            ("output", format!("output = {}", self.log_file().display())),
            ("debug", "debug = 7".to_owned()),
            ("syslog", "syslog = no".to_owned()),
        ];
        for (name, line) in own {
            if !given(name) {
                add(&line);
            }
        }
        // Tests ask for the lines of one of many connections.
        let arguments = self.arguments.iter().map(String::as_str);
        // By itself, in a wrapper that is named for it, or traced.
        let names_stunnel = |word: &str| {
            let name = Path::new(word).file_name().unwrap_or_default();
            let name = name.to_string_lossy();
            name == "stunnel" || name.ends_with("stunnel4") || name.ends_with("-stunnel")
        };
        let mut run = arguments.chain(self.program.to_str());
        let is_stunnel = stand_in().is_some() || run.any(names_stunnel);
        if !is_stunnel && !given("logRepeats") {
            add("logRepeats = 0");
        }
        // stunnel writes its pid file to a system folder unless configured otherwise.
        if self.program != Path::new(env!("CARGO_BIN_EXE_adit")) && !given("pid") {
            add("pid =");
        }
        self.globals.iter().for_each(|line| add(line));
        for (name, lines) in &self.services {
            add(&format!("[{name}]"));
            // `sni = SERVICE:PATTERN` stands in the place of `accept`.
            let is_accept = |line: &str| match line.split(['=', ' ']).next() {
                Some("accept") => true,
                Some("sni") => line.contains(':'),
                _ => false,
            };
            let section = lines.lines().map(str::trim_start);
            let mut section = section.take_while(|line| !line.starts_with('['));
            let has = |name: &str| {
                let mut names = lines
                    .lines()
                    .map(|line| line.trim_start().split(['=', ' ']).next());
                names.any(|given| given == Some(name))
            };
            let program = has("exec") && has("connect");
            if !section.any(is_accept) && !program {
                add("accept = 127.0.0.1:0");
            }
            lines.lines().for_each(|line| add(line.trim()));
        }
        text
    }

    /// The command; its configuration is written.
    pub fn command(&self) -> Command {
        fs::write(self.file(), self.text()).expect("writing the configuration");
        let mut path = self.program.clone();
        if let Some((uid, gid)) = self.user {
            // That user may not have access to cargo's build folder.
            let copy = self.folder().join("program");
            fs::copy(&path, &copy).expect("copying the program");
            path = copy;
            own_all(self.folder(), uid, gid);
        }
        let mut command = match self.open_files {
            None => Command::new(path),
            Some(count) => {
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("ulimit -n {count}; exec \"$0\" \"$@\""))
                    .arg(path);
                shell
            }
        };
        if self.arguments.is_empty() {
            command.arg(self.file());
        } else {
            command.args(&self.arguments);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
            .current_dir(self.folder())
            // For the control socket of a configuration that names none.
            .env("RUNTIME_DIRECTORY", self.folder())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(kernel) = &self.kernel {
            let mut program = kernel.clone().program();
            // SAFETY: it makes two system calls, and nothing else.
            unsafe { command.pre_exec(move || kernel::boot(&mut program)) };
        }
        command
    }

    /// Fails unless `adit check --strict` has nothing to say of it, and otherwise tells what it says.
    #[track_caller]
    pub fn passes_strict_check(&self) {
        // Writes the file.
        let _ = self.command();
        let mut check = Command::new(program());
        let output = check.args(["check", "--strict"]).arg(self.file()).output();
        let output = output.expect("running it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}{said}", self.text());
    }

    /// Starts it and waits until it serves; otherwise fails with all its output.
    #[track_caller]
    pub fn start(self) -> Adit {
        let adit = self.launch();
        adit.wait_for_log("Accepting new connections");
        adit
    }

    /// Starts it without waiting.
    #[track_caller]
    pub fn launch(self) -> Adit {
        let said = fs::File::create(self.folder().join("said")).expect("a file for its output");
        self.launch_with(|command| {
            command.stdout(said.try_clone().expect("dup")).stderr(said);
            take_terminal_away(command);
        })
    }

    /// Starts it with this as its standard error, without waiting.
    #[track_caller]
    pub fn launch_telling(self, stderr: impl Into<Stdio>) -> Adit {
        let stderr = stderr.into();
        self.launch_with(|command| {
            command.stdout(Stdio::null()).stderr(stderr);
            take_terminal_away(command);
        })
    }

    /// The same on a terminal.
    #[track_caller]
    pub fn launch_on(self, terminal: &Terminal) -> Adit {
        self.launch_with(|command| terminal.attach(command))
    }

    #[track_caller]
    fn launch_with(self, streams: impl FnOnce(&mut Command)) -> Adit {
        let mut command = self.command();
        streams(&mut command);
        let child = command.spawn().expect("starting the program");
        let pid = child.id() as i32;
        Adit {
            plan: self,
            child: Some(child),
            pid,
        }
    }

    /// Runs it until it exits by itself; fails if it runs past the deadline.
    #[track_caller]
    pub fn run(self) -> Outcome {
        let mut adit = self.launch();
        let status = adit.wait_for_exit();
        let said = adit.everything_said();
        adit.child = None;
        let folder = std::mem::replace(
            &mut adit.plan.folder,
            tempfile::tempdir().expect("a temporary folder"),
        );
        Outcome {
            status,
            said,
            folder,
        }
    }
}

fn own_all(folder: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::chown(folder, Some(uid), Some(gid)).expect("chown");
    for entry in fs::read_dir(folder).expect("its own folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            own_all(&path, uid, gid);
        } else {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("chown");
        }
    }
}

/// A running program, stopped on drop with everything it started.
pub struct Adit {
    /// Its configuration.
    pub plan: Plan,
    child: Option<Child>,
    pid: i32,
}

impl Adit {
    /// One service, started.
    #[track_caller]
    pub fn serve(lines: impl Into<String>) -> Adit {
        Plan::new().service("test", lines).start()
    }

    /// The supervisor's process number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What `adit status --json` tells; the plan names `control` in its folder.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let mut command = Command::new(program());
        command.args(["status", "--json", "--control"]);
        let output = command.arg(self.plan.folder().join("control")).output();
        let output = output.expect("adit status");
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {said}"))
    }

    /// A daemon's process number, once its pid file has it.
    pub fn adopt(&mut self, pid: i32) {
        self.pid = pid;
    }

    /// The log file's current content.
    pub fn log(&self) -> String {
        read_lossy(&self.plan.log_file())
    }

    /// The log file, and the rest of standard output and standard error.
    pub fn everything_said(&self) -> String {
        let log = self.log();
        let said = read_lossy(&self.plan.folder().join("said"));
        let beyond: Vec<&str> = said.lines().filter(|line| !log.contains(line)).collect();
        format!("{log}--- stdout and stderr:\n{}\n", beyond.join("\n"))
    }

    /// How many log lines contain `phrase`.
    pub fn count_in_log(&self, phrase: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(phrase))
            .count()
    }

    /// Waits for the first log line with `phrase`.
    #[track_caller]
    pub fn wait_for_log(&self, phrase: &str) -> String {
        self.wait_for_log_times(phrase, 1)
    }

    /// Waits for the `count`th log line with `phrase`.
    #[track_caller]
    pub fn wait_for_log_times(&self, phrase: &str, count: usize) -> String {
        let found = poll_for(DEADLINE, || {
            // Checked before the log is read: the last line may come between the two.
            let gone = !proc::alive(self.pid);
            let log = self.log();
            // A line that is still being written has no end yet.
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            let mut lines = whole.lines().filter(|line| line.contains(phrase));
            if let Some(line) = lines.nth(count - 1) {
                return Some(Some(line.to_owned()));
            }
            // Nothing more comes from a process that has exited.
            gone.then_some(None)
        });
        match found.flatten() {
            Some(line) => line,
            // The log itself is shown on drop.
            None => panic!("no {count}. line with {phrase:?} in the log"),
        }
    }

    /// The service's current address: the last one it was bound to.
    #[track_caller]
    pub fn address(&self, service: &str) -> SocketAddr {
        let start = format!("Service [{service}] (FD=");
        self.wait_for_log(&start);
        let log = self.log();
        let line = log
            .lines()
            .rfind(|line| line.contains(&start) && line.contains("bound to"));
        line.and_then(|line| line.rsplit(' ').next())
            // With `logFormat = json`.
            .map(|address| address.trim_end_matches(['"', '}']))
            .and_then(parse_address)
            .unwrap_or_else(|| panic!("no address of [{service}] in the log"))
    }

    /// A plain connection to the service.
    #[track_caller]
    pub fn connect(&self, service: &str) -> std::net::TcpStream {
        super::peers::connect(self.address(service))
    }

    /// Sends the supervisor a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("it runs");
    }

    /// Writes another configuration over the old one; `change` gets the old text.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.plan.file()).expect("the configuration");
        fs::write(self.plan.file(), change(text)).expect("writing the configuration");
    }

    /// SIGHUP; waits until the new configuration is in force: loaded, with each of its `services` bound
    /// or kept.
    #[track_caller]
    pub fn reload(&self, services: usize) {
        let loaded = self.count_in_log("Configuration successful");
        let bound = self.count_in_log("bound to");
        self.signal(Signal::SIGHUP);
        self.wait_for_log_times("Configuration successful", loaded + 1);
        self.wait_for_log_times("bound to", bound + services);
    }

    /// SIGHUP; waits until it is refused; the log's new part must contain the phrases.
    #[track_caller]
    pub fn reload_refused(&self, phrases: &[&str]) {
        let before = self.log().len();
        let failed = self.count_in_log("Configuration failed");
        self.signal(Signal::SIGHUP);
        self.wait_for_log_times("Configuration failed", failed + 1);
        let log = self.log();
        for phrase in phrases {
            assert!(
                log[before..].contains(phrase),
                "no {phrase:?} in:\n{}",
                &log[before..]
            );
        }
    }

    /// Waits until the process that was started exits by itself.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let child = self
            .child
            .as_mut()
            .expect("a child that was not awaited yet");
        match poll_for(DEADLINE * 2, || child.try_wait().expect("wait")) {
            Some(status) => status,
            None => panic!("it does not end"),
        }
    }

    /// SIGTERM, then the exit status; fails if one of its processes is left.
    #[track_caller]
    pub fn stop(mut self) -> (ExitStatus, String) {
        let family = proc::family(self.pid);
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_exit();
        proc::wait_for_end(&family);
        (status, self.everything_said())
    }
}

impl Drop for Adit {
    fn drop(&mut self) {
        let family = proc::family(self.pid);
        if let Some(child) = self.child.as_mut()
            && child.try_wait().ok().flatten().is_none()
        {
            // First by a signal, so that its own clean-up runs, then by force.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let ended = poll_for(Duration::from_secs(5), || child.try_wait().ok().flatten());
            if ended.is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!(
                "--- log of the program under test:\n{}",
                self.everything_said()
            );
        }
        proc::end_all(&family);
    }
}

/// `A:P` as stunnel writes it, without brackets for IPv6.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
