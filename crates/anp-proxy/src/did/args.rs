//! What the commands take.

use std::{path::PathBuf, str::FromStr};

use anp_auth::{AuthForm, KeyKind, resolver::Place};
use anp_gateway::Network;
use clap::{Args, Subcommand, ValueEnum};

use crate::admin::Target;

/// What to do with an identity.
#[derive(Debug, Subcommand)]
pub(crate) enum DidCommand {
    /// Make a key and the document that says so; tells where to publish it
    #[command(after_help = "\
Examples:
  anp-proxy did new example.com/agents/alice
  anp-proxy did new gateway.example/alice --publish    at a gateway with hosted_domain
  anp-proxy did new example.com:8443 --key p256 --out /etc/anp-proxy")]
    New(NewArgs),
    /// Say what a DID or a document means: where it is published, which keys may sign
    #[command(after_help = "\
Examples:
  anp-proxy did show did:wba:example.com:agents:alice
  anp-proxy did show did.json")]
    Show(ShowArgs),
    /// Fetch a document as a gateway would, and say what happens at each step
    ///
    /// With --config it is fetched exactly as the gateway of that configuration does. Exit code 1 if a
    /// gateway would not accept it.
    #[command(after_help = "\
Examples:
  anp-proxy did check did:wba:example.com:agents:alice
  anp-proxy did check did.json        also: is what is published the same?
  anp-proxy did check did.json --config gateway.toml
  anp-proxy did check did.json --at did.lab=10.0.0.5:8443 --ca-file lab-ca.pem")]
    Check(CheckArgs),
    /// Have a gateway host a document: one whose gateway.auth.hosted_domain is that of the DID
    ///
    /// Speaks to its admin listener.
    #[command(after_help = "\
Example:
  anp-proxy did publish did.json")]
    Publish(PublishArgs),
    /// List the documents that a gateway hosts
    List(ListArgs),
    /// Have a gateway host a document no more; the tunnels of its DID end
    #[command(after_help = "\
Example:
  anp-proxy did withdraw did:wba:gateway.example:alice:e1_…")]
    Withdraw(WithdrawArgs),
    /// Print the headers that prove an identity to one service, for curl
    ///
    /// They are good for one request within 5 minutes.
    #[command(after_help = "\
Example:
  anp-proxy did header --document did.json --key key.pem https://agent.example/chat |
      curl -H @- https://agent.example/chat")]
    Header(HeaderArgs),
}

/// Arguments of `did new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Where the document will be published: HOST[:PORT][/PATH]
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// Kind of key; ed25519 and secp256k1 are named in a DID with a path, so that nobody can change
    /// the document
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub(crate) key: Kind,
    /// Directory for did.json and key.pem, which must not be there yet
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Have the gateway at --admin host the document
    #[arg(long)]
    pub(crate) publish: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Arguments of `did publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// File with the document
    #[arg(value_name = "FILE")]
    pub(crate) document: PathBuf,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Arguments of `did list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Arguments of `did withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The DID
    #[arg(value_name = "DID")]
    pub(crate) did: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Kinds of keys, as they are written on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Kind {
    #[default]
    Ed25519,
    Secp256k1,
    P256,
}

/// Arguments of `did show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A DID, or a file with a document
    #[arg(value_name = "DID|FILE")]
    pub(crate) subject: String,
}

/// Arguments of `did check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A DID, or a file with its document
    #[arg(value_name = "DID|FILE")]
    pub(crate) subject: String,
    /// Certificates that are believed as the system's are (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Where a host is, instead of what the name service says: HOST=ADDRESS[:PORT]. Repeatable
    #[arg(long, value_name = "HOST=ADDRESS")]
    pub(crate) at: Vec<At>,
    /// Network that may be connected to although it is not public. Repeatable
    #[arg(long, value_name = "NETWORK")]
    pub(crate) allow_network: Vec<Network>,
    /// Port that a DID may have, besides 443. Repeatable [default: the one it has]
    #[arg(long, value_name = "PORT")]
    pub(crate) allow_port: Vec<u16>,
}

/// Where a host is.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) host: String,
    pub(crate) place: Place,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=');
        let (host, place) = parts.ok_or("expected HOST=ADDRESS, such as did.lab=10.0.0.5")?;
        Ok(Self {
            host: host.to_owned(),
            place: place.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

/// Arguments of `did header`.
#[derive(Debug, Args)]
pub(crate) struct HeaderArgs {
    /// The URL that will be called, exactly as the client will write it
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// File with the document
    #[arg(long, value_name = "FILE")]
    pub(crate) document: PathBuf,
    /// File with the private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Method of the request [default: GET, or POST with --data]
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// File with the body of the request, whose digest is signed with it (--form signature)
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// signature (RFC 9421), didwba, or didwba-1.1, which signs "aud" instead of "service"
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) form: Form,
    /// A nonce that the service asked for [default: a random one]
    #[arg(long, value_name = "NONCE")]
    pub(crate) nonce: Option<String>,
}

/// Forms of proof, as they are written on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Form {
    #[default]
    Signature,
    Didwba,
    #[value(name = "didwba-1.1")]
    Didwba11,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Ed25519 => Self::Ed25519,
            Kind::Secp256k1 => Self::Secp256k1,
            Kind::P256 => Self::P256,
        }
    }
}

impl From<Form> for AuthForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Signature => Self::Signature,
            Form::Didwba => Self::DidWba,
            Form::Didwba11 => Self::DidWba11,
        }
    }
}
