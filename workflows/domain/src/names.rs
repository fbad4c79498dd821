//! Enums whose variants have names in storage and the API.

/// Implements `ALL` and `as_str` for an enum from the names of its variants. With a description for errors, as in
/// `names!(Color, "a color" { … })`, it also implements `FromStr`.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name in storage, metrics and the API.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name),* } }
        }
    };
    ($type:ident, $what:literal { $($variant:ident = $name:literal,)* }) => {
        names!($type { $($variant = $name,)* });

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text { $($name => Ok(Self::$variant),)* other => Err(format!(concat!("`{}` is not ", $what), other)) }
            }
        }
    };
}

pub(crate) use names;
