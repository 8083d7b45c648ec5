//! The macro that makes a struct or an enum of plan words readable and, for the engine, writable.
//!
//! Fields lie one after another in the order in which they are written down; an enum begins with its number.

macro_rules! words {
    ($(#[$meta:meta])* struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> { $($(#[$fmeta])* pub $field: $type,)* }
        impl<'a> Decode<'a> for $name<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
                Ok($name { $($field: Decode::decode(reader)?,)* })
            }
        }
        #[cfg(feature = "writer")]
        impl Encode for $name<'_> {
            fn encode(&self, sink: &mut Sink) { $(self.$field.encode(sink);)* }
        }
    };
    ($(#[$meta:meta])* enum $name:ident { $($(#[$vmeta:meta])* $number:literal $variant:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* })* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name<'a> { $($(#[$vmeta])* $variant { $($(#[$fmeta])* $field: $type,)* },)* }
        impl<'a> Decode<'a> for $name<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
                match reader.u64()? {
                    $($number => Ok($name::$variant { $($field: Decode::decode(reader)?,)* }),)*
                    other => Err(PlanError::Step(other)),
                }
            }
        }
        #[cfg(feature = "writer")]
        impl Encode for $name<'_> {
            fn encode(&self, sink: &mut Sink) {
                match self { $($name::$variant { $($field,)* } => {
                    let number: u64 = $number;
                    number.encode(sink);
                    $($field.encode(sink);)*
                })* }
            }
        }
    };
}

pub(crate) use words;
