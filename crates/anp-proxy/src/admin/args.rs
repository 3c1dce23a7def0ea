//! What `admin` and `endpoint` take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The gateway that is meant, and how its answers are shown.
#[derive(Debug, Default, Args)]
pub(crate) struct Target {
    /// Admin listener of the gateway [default: gateway.admin_listen of the configuration, else
    /// http://127.0.0.1:9000]
    #[arg(long, global = true, value_name = "URL", env = "ANP_ADMIN")]
    pub(crate) admin: Option<String>,
    /// File with the token it asks for, if it does [default: that of the configuration]
    #[arg(long, global = true, value_name = "FILE", env = "ANP_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Arguments of `admin`.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// What to ask a running gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Print sums: connections, requests, tunnels
    Stats,
    /// List the tunnels that are connected
    Tunnels,
    /// End a tunnel; its receiver may connect again
    ///
    /// What is under way is finished first, unless --now is given.
    Close(CloseArgs),
    /// Have it read its configuration again
    Reload,
    /// Print the settings it runs with, secrets masked
    ///
    /// Without workers, open and control_socket, unless somebody set them.
    Config,
}

/// Arguments of `admin close`.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    /// Tunnel, such as t12
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Break off what is under way
    #[arg(long)]
    pub(crate) now: bool,
    /// What the gateway's log says and, with --now, the close frame to the receiver
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Arguments of `endpoint`.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: EndpointCommand,
}

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// List the endpoints of configuration and registry, and those that DIDs have by their names
    List,
    /// Print all of one endpoint
    Show(NameArgs),
    /// Add an endpoint to the registry
    ///
    /// It takes effect at once and is kept. Needs --receiver or --owner.
    Add(SettingsArgs),
    /// Change some settings of an endpoint of the registry
    Change(ChangeArgs),
    /// Remove an endpoint from the registry
    Remove(NameArgs),
}

/// An endpoint.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// An endpoint and its settings; docs/configuration.md says what each means.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Host name, or *. and a host name for all below it [default: every host that no other names]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Path prefix of whole segments [default: /]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Who serves it and proves it: a DID or token:NAME
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// Name of a receiver that serves it. Repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) receiver: Vec<String>,
    /// Largest body of a request, such as 10MiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body_size: Option<String>,
    /// Requests to it at once
    #[arg(long, value_name = "NUMBER", value_parser = whole_number)]
    pub(crate) max_requests: Option<u64>,
    /// Identity that may call it: a DID, domain:HOST, *.HOST, or * for any that is proven. Repeatable
    #[arg(long, value_name = "DID")]
    pub(crate) caller_did: Vec<String>,
    /// User that may call it, and the hash that `token new NAME --caller` prints. Repeatable
    #[arg(long, value_name = "NAME=HASH")]
    pub(crate) caller_basic: Vec<String>,
    /// Network or address that callers must come from. Repeatable
    #[arg(long, value_name = "CIDR")]
    pub(crate) caller_network: Vec<String>,
    /// The app gets targets without the path prefix
    #[arg(long)]
    pub(crate) strip_prefix: bool,
    /// Any other setting of an endpoint, its value as JSON or text. Repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) setting: Vec<String>,
}

fn whole_number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "expected a whole number")
}

/// Arguments of `endpoint change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Setting that goes back to its default, such as max_requests. Repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) unset: Vec<String>,
}
