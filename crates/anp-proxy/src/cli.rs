//! The command line.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;

use crate::{
    admin::{AdminArgs, EndpointArgs},
    did::DidCommand,
    logging::Format,
    run::Replace,
};

const EXAMPLES: &str = "\
Examples:
  anp-proxy demo                                  try it: a tunnel with a sample app behind it
  anp-proxy dev --to http://127.0.0.1:8000        your own app, everything in one process
  anp-proxy gateway                               the public side
  anp-proxy receiver --gateway ws://127.0.0.1:8765 --to http://127.0.0.1:8000
                                                  the private side, beside the app
  anp-proxy endpoint add lab --host lab.example.com --receiver lab-1
                                                  serve more without a restart
  anp-proxy config check --config anp.toml        is this configuration valid?

Settings, weakest first: defaults, the --config file, environment variables such as
ANP_GATEWAY__LISTEN, --set gateway.listen=ADDR, and the flags of a command.

Exit codes: 0 stopped as asked, 1 a failure while running that nothing will retry,
2 wrong configuration or usage (nothing was started).";

/// What is said to who asks this program for an app of the package's.
pub(crate) const NO_APP: &str = "\
The command of the Python package has --app, and calls the app in its own process: `make wheel` builds \
it (docs/python.md). This one calls apps at URLs: --to http://127.0.0.1:8000";

/// True where a command line failed for a flag that only the Python package's command has.
pub(crate) fn asks_for_app(error: &clap::Error) -> bool {
    let flag = error.get(ContextKind::InvalidArg);
    error.kind() == ErrorKind::UnknownArgument
        && matches!(flag, Some(ContextValue::String(flag)) if flag == "--app")
}

/// Reverse HTTP tunnel: gives an app that nothing can reach a public HTTP address.
///
/// A gateway with a public address takes HTTP requests and sends each through an outbound
/// connection that a receiver, beside the app, keeps to it.
#[derive(Debug, Parser)]
#[command(name = "anp-proxy", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Flags that every command takes.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags that every command takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Common {
    /// Configuration file (TOML) [env: ANP_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one key, such as gateway.drain_timeout=10s; a list is written a,b. Repeatable
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// How log lines on standard error look [default: human on a terminal, JSON otherwise]
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        hide_possible_values = false
    )]
    pub(crate) log_format: Option<Format>,
    /// What is logged: error, warn, info, debug, trace or off, or such as info,anp_tunnel=debug
    /// [default: info] [env: ANP_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take HTTP requests and send them to receivers
    ///
    /// Without endpoints in the configuration, and on loopback addresses, any receiver serves every path.
    #[command(after_help = "\
Examples:
  anp-proxy gateway
  anp-proxy gateway --listen 127.0.0.1:9000 --tunnel-listen 127.0.0.1:9001
  anp-proxy gateway --admin-listen 127.0.0.1:9000      for anp-proxy admin and endpoint
  anp-proxy gateway --config gateway.toml
  anp-proxy gateway --config gateway.toml --replace    in place of the one that runs")]
    Gateway(GatewayArgs),
    /// Connect to a gateway and call the local app
    ///
    /// Reconnects for ever, unless the gateway refuses it from the start.
    #[command(after_help = "\
Examples:
  anp-proxy receiver --gateway wss://gateway.example:8765 --to http://127.0.0.1:8000
  anp-proxy receiver --gateway wss://a.example:8765 --gateway wss://b.example:8765 \\
                     --to unix:/run/app.sock --name lab-1
  anp-proxy receiver --config anp.toml --check    would it work?")]
    Receiver(ReceiverArgs),
    /// Run gateway and receiver in one process, in front of an app on this machine
    #[command(after_help = "\
Example:
  anp-proxy dev --to http://127.0.0.1:8000 --listen 127.0.0.1:9000")]
    Dev(DevArgs),
    /// Run gateway, receiver and a sample app in one process
    #[command(after_help = "\
Example:
  anp-proxy demo        prints what to try")]
    Demo(DemoArgs),
    /// List, add, change and remove the endpoints of a running gateway
    ///
    /// Speaks to its admin listener. Needs a gateway that runs with --admin-listen. Exit code 1 if
    /// it cannot be asked, or refuses.
    #[command(after_help = "\
Examples:
  anp-proxy endpoint add lab --host lab.example.com --receiver lab-1
  anp-proxy endpoint add docs --path /docs --receiver docs-1 --receiver docs-2
  anp-proxy endpoint change lab --max-requests 100 --unset host
  anp-proxy endpoint list --json
  anp-proxy endpoint remove lab")]
    Endpoint(EndpointArgs),
    /// Look at a running gateway: sums, tunnels, settings; close a tunnel, reload
    ///
    /// Speaks to its admin listener. Needs a gateway that runs with --admin-listen. Exit code 1 if
    /// it cannot be asked, or refuses.
    #[command(after_help = "\
Examples:
  anp-proxy admin stats
  anp-proxy admin tunnels --json
  anp-proxy admin close t12
  anp-proxy admin reload --admin http://10.0.0.1:9000 --admin-token-file admin.token")]
    Admin(AdminArgs),
    /// Print ANPX frames readably and say what is wrong with a bad one
    ///
    /// Takes frames back to back, or hex of them: plain digits, xxd, hexdump -C. Exit code 1 if any
    /// frame is bad.
    #[command(after_help = "\
Examples:
  anp-proxy inspect frame.bin
  xxd frame.bin | anp-proxy inspect -")]
    Inspect(InspectArgs),
    /// Check the configuration, or show what is in effect
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make an identity (did:wba), look at one, find out why one is not accepted
    #[command(subcommand)]
    Did(DidCommand),
    /// Make tokens for receivers without an identity, and secrets for callers
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a script that completes this command line in a shell
    #[command(after_help = "\
Examples:
  source <(anp-proxy completions bash)                               for this shell
  anp-proxy completions fish > ~/.config/fish/completions/anp-proxy.fish")]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// Flags of `gateway`.
#[derive(Debug, Default, Args)]
pub(crate) struct GatewayArgs {
    /// Where callers connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Where receivers connect [default: 127.0.0.1:8765]
    #[arg(long, value_name = "ADDR")]
    pub(crate) tunnel_listen: Option<String>,
    /// Where health, metrics and the admin API are served, for anp-proxy admin and endpoint
    /// [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<String>,
    /// Take over the listeners of the gateway that runs, which then drains and ends. It is found by its
    /// gateway.control_socket; SOCKET names that where this configuration has another
    #[arg(long, value_name = "SOCKET", require_equals = true, num_args = 0..=1)]
    replace: Option<Option<PathBuf>>,
}

impl GatewayArgs {
    /// The gateway that is to be replaced, if any.
    pub(crate) fn replace(&self) -> Option<Replace> {
        self.replace.clone().map(|at| Replace { at })
    }
}

/// Flags of `receiver`.
#[derive(Debug, Default, Args)]
pub(crate) struct ReceiverArgs {
    /// Gateway to connect to, such as wss://gateway.example:8765, or ws:// without TLS; https:// and
    /// http:// mean the same. Repeatable
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Vec<String>,
    /// App to call: http://HOST:PORT, h2c://HOST:PORT (HTTP/2, gRPC), https:// or h2:// over TLS, or
    /// unix:/PATH. Repeatable
    #[arg(long, value_name = "URL")]
    pub(crate) to: Vec<String>,
    /// Name of this receiver, by which a gateway's endpoints know it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// DID document that says who this receiver is (see anp-proxy did new)
    #[arg(long, value_name = "FILE")]
    pub(crate) did_document: Option<String>,
    /// Private key of the DID document (PEM), which no other user can read
    #[arg(long, value_name = "FILE")]
    pub(crate) did_key: Option<String>,
    /// File with a token that the gateway knows, in place of a DID
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<String>,
    /// Endpoint to serve, of those that are this receiver's: a host, a path, or both. Repeatable
    /// [default: all]
    #[arg(long, value_name = "HOST/PATH")]
    pub(crate) endpoint: Vec<String>,
    /// Compress text for callers that take it, where the app did not: zstd, br or gzip, the
    /// preferred first. Not for secrets beside text of strangers (docs/security.md) [default: off]
    #[arg(long, value_name = "CODING,...")]
    pub(crate) compress: Option<String>,
    /// Path of the app to ask whether it is well; while it is not, requests wait or go elsewhere
    #[arg(long, value_name = "PATH")]
    pub(crate) health_path: Option<String>,
    /// Where health and metrics are served: /healthz, /readyz and /metrics [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(crate) status_listen: Option<String>,
    /// Ask each gateway whether it takes this receiver and each app whether it answers, and end;
    /// exit code 1 if one does not
    #[arg(long)]
    #[cfg_attr(feature = "app", arg(conflicts_with = "app"))]
    pub(crate) check: bool,
    /// An app in this process.
    #[cfg(feature = "app")]
    #[command(flatten)]
    pub(crate) in_process: AppArgs,
}

/// Flags of `dev`.
#[derive(Debug, Default, Args)]
pub(crate) struct DevArgs {
    /// App to call: http://HOST:PORT, h2c://HOST:PORT (HTTP/2, gRPC), https:// or h2:// over TLS, or
    /// unix:/PATH. Repeatable
    #[arg(long, value_name = "URL")]
    pub(crate) to: Vec<String>,
    /// Where callers connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// An app in this process.
    #[cfg(feature = "app")]
    #[command(flatten)]
    pub(crate) in_process: AppArgs,
}

/// Flags that name an app of the program that this command line runs in.
#[cfg(feature = "app")]
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AppArgs {
    /// Python app to call in this process, instead of --to: an ASGI app, such as main:app
    #[arg(long, value_name = "MODULE:ATTR", conflicts_with = "to")]
    pub(crate) app: Option<String>,
    /// What --app names is called without arguments, and gives the app
    #[arg(long, requires = "app", conflicts_with = "to")]
    pub(crate) factory: bool,
    /// Where modules are looked for first [default: the current directory]
    #[arg(long, value_name = "DIR", requires = "app", conflicts_with = "to")]
    pub(crate) app_dir: Option<PathBuf>,
    /// What --app names is a WSGI app; it is called in threads
    #[arg(long, requires = "app", conflicts_with = "to")]
    pub(crate) wsgi: bool,
    /// Path that the app is told it is mounted at (ASGI root_path, WSGI SCRIPT_NAME)
    #[arg(long, value_name = "PATH", requires = "app", conflicts_with = "to", value_parser = root_path)]
    pub(crate) root_path: Option<String>,
}

/// Flags of `demo`.
#[derive(Debug, Default, Args)]
pub(crate) struct DemoArgs {
    /// Where callers connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// File to read; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a new token once, and the hash of it that the gateway keeps
    #[command(after_help = "\
Example:
  anp-proxy token new lab            then: owner = \"token:lab\" at an endpoint of the gateway
  anp-proxy token new ann --caller   then: curl -u ann:SECRET at an endpoint that asks for it")]
    New {
        /// What its holder is called: 1 to 64 of 0-9 A-Z a-z . _ -
        #[arg(value_name = "NAME")]
        name: String,
        /// For a caller, as the password of basic authentication
        #[arg(long)]
        caller: bool,
    },
}

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with the configuration; exit code 1 if anything is
    ///
    /// Certificates that have expired, or are not valid yet, are warnings: exit code 0.
    Check,
    /// Print the settings in effect and where each came from
    Show,
}

#[cfg(feature = "app")]
impl Command {
    /// The flags that name an app in this process, where there are any.
    pub(crate) fn app(&self) -> Option<&AppArgs> {
        let args = match self {
            Self::Receiver(args) => &args.in_process,
            Self::Dev(args) => &args.in_process,
            _ => return None,
        };
        args.app.is_some().then_some(args)
    }
}

/// A mount path; the empty one is the root.
#[cfg(feature = "app")]
fn root_path(path: &str) -> Result<String, String> {
    match path.is_empty() || path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err("expected a path that begins with \"/\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_flags_stand_anywhere() {
        for line in [
            "anp-proxy --config a.toml --set log.level=warn dev --to x",
            "anp-proxy dev --to x --set log.level=warn --config a.toml",
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.common.config, Some("a.toml".into()));
            assert_eq!(cli.common.set, ["log.level=warn"]);
        }
    }

    #[test]
    fn unknown_words_are_refused_with_a_hint() {
        let error = parse("anp-proxy gatway").unwrap_err();
        assert!(error.contains("gateway"), "{error}");
        let error = parse("anp-proxy gateway --lisen 1").unwrap_err();
        assert!(error.contains("--listen"), "{error}");
        assert!(parse("anp-proxy").is_err());
        assert!(parse("anp-proxy inspect").is_err());
    }
}
