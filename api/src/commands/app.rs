//! `settle app`: what is more than one call.

use super::drawn::Hook;
use super::import::{self, Import};
use super::rates::{self, Rates};
use super::sales::{self, Sales};
use clap::{Args, FromArgMatches};

pub const HOOKS: &[(&str, Hook)] = &[
    (
        "import",
        Hook::Own(Import::augment_args, |matches, client| {
            Box::pin(async { import::import(client, &Import::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "rates",
        Hook::Own(Rates::augment_args, |matches, client| {
            Box::pin(async { rates::rates(client, &Rates::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "import-sales",
        Hook::Own(Sales::augment_args, |matches, client| {
            Box::pin(async { sales::sales(client, &Sales::from_arg_matches(matches)?).await })
        }),
    ),
];
