//! Base64 as DID clients write it.

use base64::{
    alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD},
    },
};

/// Base64url, written without padding and read with or without it.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64, padded, as structured fields have it (RFC 8941 section 3.3.5).
pub(crate) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new());
