//! Expressions over functions and numbers, as `circuitBreaker` and `buffering` take them:
//! `NetworkErrorRatio() > 0.5 || Attempts() <= 2`. Text to a tree and its answer; each user
//! says in a table which functions it has. Must never know what they mean.

mod lex;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::parse;

/// Longest expression in bytes.
const LONGEST: usize = 4 * 1024;

/// Deepest nesting of parentheses and `!`.
const DEEPEST: usize = 32;

/// What is true or false of calls of `F`.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate<F> {
    /// A call that is true or false by itself: `IsNetworkError()`.
    Holds(F),
    /// A call and a constant of the same kind: `Attempts() <= 2`.
    Compare(F, Comparison, Value),
    /// Not. Traefik has no such operator; it is taken all the same.
    Not(Box<Self>),
    /// All; at least two.
    And(Vec<Self>),
    /// Any; at least two.
    Or(Vec<Self>),
}

/// How a call and a constant are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// A constant, or what a call comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Whole: `502`.
    Int(i64),
    /// With a fraction: `0.5`.
    Float(f64),
    /// `"GET"`.
    Text(String),
    /// What a call alone may come to; no constant is one.
    Truth(bool),
}

/// The kind of a [`Value`]. As in Traefik a whole number is none with a fraction:
/// `NetworkErrorRatio() > 1` is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Int`].
    Int,
    /// [`Value::Float`].
    Float,
    /// [`Value::Text`].
    Text,
    /// [`Value::Truth`].
    Truth,
}

/// A function that an expression may call. Names compare with case.
pub struct Function<F> {
    /// As written: `Attempts`.
    pub name: &'static str,
    /// The kinds of its arguments.
    pub takes: &'static [Kind],
    /// What it comes to.
    pub gives: Kind,
    /// Makes the call of arguments of these kinds; `None`: their values are of no use.
    pub make: fn(&[Value]) -> Option<F>,
}

impl<F> Predicate<F> {
    /// Calls `visit` with each call, in the order they are written.
    pub fn each(&self, visit: &mut impl FnMut(&F)) {
        match self {
            Self::Holds(call) | Self::Compare(call, _, _) => visit(call),
            Self::Not(inner) => inner.each(visit),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.each(visit);
                }
            }
        }
    }

    /// Whether it holds, given what calls come to. Stops as early as it can.
    pub fn holds(&self, ask: &mut impl FnMut(&F) -> Value) -> bool {
        match self {
            Self::Holds(call) => ask(call) == Value::Truth(true),
            Self::Compare(call, comparison, value) => comparison.holds(&ask(call), value),
            Self::Not(inner) => !inner.holds(ask),
            Self::And(all) => all.iter().all(|one| one.holds(ask)),
            Self::Or(any) => any.iter().any(|one| one.holds(ask)),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Int(left), Value::Int(right)) => self.over(left, right),
            (Value::Float(left), Value::Float(right)) => self.over(left, right),
            (Value::Text(left), Value::Text(right)) => self.over(left, right),
            // The parser compares equal kinds only; what is not comparable holds never.
            _ => false,
        }
    }

    fn over<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Text(_) => Kind::Text,
            Self::Truth(_) => Kind::Truth,
        }
    }
}

impl Kind {
    /// As Go names it.
    fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float64",
            Self::Text => "string",
            Self::Truth => "predicate",
        }
    }
}
