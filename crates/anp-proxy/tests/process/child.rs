//! The binary as a child process: its lines as they come, its signals, its end.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// How long anything may take before the test is called stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the binary, without settings of whoever runs the tests.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anp-proxy"));
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_ascii_uppercase();
        if upper.starts_with("ANP_") || upper.ends_with("_PROXY") || upper == "NOTIFY_SOCKET" {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// As [`command`], where `ulimit` has set a limit with these arguments.
pub(crate) fn limited(ulimit: &str, args: &[&str]) -> Command {
    let limited = command(args);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit {ulimit} && exec \"$@\""), "sh"])
        .arg(limited.get_program())
        .args(limited.get_args());
    for (name, _) in limited.get_envs() {
        shell.env_remove(name);
    }
    shell
}

/// Runs to the end.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    finished(command(args).stdin(Stdio::null()).output().unwrap())
}

/// Exit code, standard output and standard error.
pub(crate) fn finished(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A command that runs until it is told to stop.
pub(crate) struct Running {
    process: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(&mut command(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(process.stdout.take().unwrap());
        let stderr = lines(process.stderr.take().unwrap());
        Self {
            process,
            stdout,
            stderr,
        }
    }

    /// The next line of standard output that has `text` in it.
    pub(crate) fn says(&self, text: &str) -> String {
        wait_for(&self.stdout, text)
    }

    /// The next line of standard error that has `text` in it.
    pub(crate) fn logs(&self, text: &str) -> String {
        wait_for(&self.stderr, text)
    }

    /// The next lines of standard error, up to one that has `text` in it.
    pub(crate) fn logs_up_to(&self, text: &str) -> Vec<String> {
        up_to(&self.stderr, text)
    }

    /// The process, by its number.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end; the exit code.
    pub(crate) fn ends(&mut self) -> i32 {
        self.ends_saying().0
    }

    /// Waits for the end; the exit code, and what was still to come on standard error.
    pub(crate) fn ends_saying(&mut self) -> (i32, Vec<String>) {
        // Standard error ends with the process; waiting on it bounds the wait.
        let mut lines = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            lines.push(line);
        }
        let code = match self.process.try_wait().unwrap() {
            Some(status) => status.code().unwrap(),
            None => self.process.wait().unwrap().code().unwrap(),
        };
        (code, lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone, where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for(lines: &Receiver<String>, text: &str) -> String {
    up_to(lines, text).pop().unwrap_or_default()
}

/// The lines up to one that has `text` in it, which is the last.
fn up_to(lines: &Receiver<String>, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(text) => {
                seen.push(line);
                return seen;
            }
            Ok(line) => seen.push(line),
            Err(_) => panic!(
                "no line with {text:?} came; there were:\n{}",
                seen.join("\n")
            ),
        }
    }
}
