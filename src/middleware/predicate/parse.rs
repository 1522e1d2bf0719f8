//! Text to a tree. `||` binds loosest, then `&&`, then comparisons, then `!`, as in Go.

use super::lex::{Kind as Word, Lexer, Token};
use super::{Comparison, DEEPEST, Function, Kind, LONGEST, Predicate, Value};

/// Reads an expression over these functions. The error is in Traefik's words where it has
/// words that help.
pub fn parse<F>(text: &str, functions: &[Function<F>]) -> Result<Predicate<F>, String> {
    if text.len() > LONGEST {
        return Err(format!("an expression of {} bytes; {LONGEST} are the most", text.len()));
    }
    let mut lexer = Lexer::new(text);
    let ahead = lexer.next()?;
    let mut parser = Parser { functions, lexer, ahead, depth: 0 };
    let whole = parser.any()?;
    if parser.ahead.kind != Word::End {
        return Err(parser.trailing());
    }
    whole.predicate().map_err(|other| format!("expected predicate, got {other}"))
}

struct Parser<'a, F> {
    functions: &'a [Function<F>],
    lexer: Lexer<'a>,
    /// The token that comes next.
    ahead: Token<'a>,
    depth: usize,
}

/// What stands beside an operator.
enum Part<'a, F> {
    Constant(&'a str, Value),
    Call(&'a str, Kind, F),
    Predicate(Predicate<F>),
}

impl<F> Part<'_, F> {
    /// As something true or false; the error says what it is instead.
    fn predicate(self) -> Result<Predicate<F>, String> {
        match self {
            Self::Predicate(predicate) => Ok(predicate),
            Self::Call(_, Kind::Truth, call) => Ok(Predicate::Holds(call)),
            Self::Call(name, kind, _) => {
                Err(format!("{name}() of type {} (compare it with a number)", kind.name()))
            }
            Self::Constant(written, value) => Err(format!("{} {written}", value.kind().name())),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Constant(written, value) => format!("{} {written}", value.kind().name()),
            Self::Call(name, kind, _) => format!("{} {name}()", kind.name()),
            Self::Predicate(_) => "predicate".to_owned(),
        }
    }
}

impl<'a, F> Parser<'a, F> {
    fn take(&mut self) -> Result<Token<'a>, String> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    /// Takes the symbol if it comes next.
    fn takes(&mut self, symbol: &str) -> Result<bool, String> {
        let comes = matches!(self.ahead.kind, Word::Symbol(ahead) if ahead == symbol);
        if comes {
            self.take()?;
        }
        Ok(comes)
    }

    fn any(&mut self) -> Result<Part<'a, F>, String> {
        let first = self.all()?;
        self.joined("||", first, Self::all, Predicate::Or)
    }

    fn all(&mut self) -> Result<Part<'a, F>, String> {
        let first = self.comparison()?;
        self.joined("&&", first, Self::comparison, Predicate::And)
    }

    fn joined(
        &mut self,
        operator: &str,
        first: Part<'a, F>,
        next: fn(&mut Self) -> Result<Part<'a, F>, String>,
        join: fn(Vec<Predicate<F>>) -> Predicate<F>,
    ) -> Result<Part<'a, F>, String> {
        if !self.takes(operator)? {
            return Ok(first);
        }
        let side = |part: Part<'_, F>| {
            part.predicate().map_err(|other| format!("expected predicate, got {other}"))
        };
        let mut parts = vec![side(first)?, side(next(self)?)?];
        while self.takes(operator)? {
            parts.push(side(next(self)?)?);
        }
        Ok(Part::Predicate(join(parts)))
    }

    fn comparison(&mut self) -> Result<Part<'a, F>, String> {
        let mut left = self.operand()?;
        while let Some((word, comparison)) = self.comparing() {
            self.take()?;
            let right = self.operand()?;
            left = Part::Predicate(compare(left, word, comparison, right)?);
        }
        Ok(left)
    }

    fn comparing(&self) -> Option<(&'static str, Comparison)> {
        let Word::Symbol(symbol) = self.ahead.kind else { return None };
        match symbol {
            "<" => Some(("lt", Comparison::Less)),
            "<=" => Some(("le", Comparison::LessOrEqual)),
            ">" => Some(("gt", Comparison::Greater)),
            ">=" => Some(("ge", Comparison::GreaterOrEqual)),
            "==" => Some(("eq", Comparison::Equal)),
            "!=" => Some(("neq", Comparison::NotEqual)),
            _ => None,
        }
    }

    fn operand(&mut self) -> Result<Part<'a, F>, String> {
        let token = self.take()?;
        match token.kind {
            Word::Symbol("!") => {
                self.enter(token.at)?;
                let inner = self.operand()?;
                self.depth -= 1;
                let inner = inner.predicate();
                let inner = inner.map_err(|other| format!("!: expected predicate, got {other}"))?;
                Ok(Part::Predicate(Predicate::Not(Box::new(inner))))
            }
            Word::Symbol("(") => {
                self.enter(token.at)?;
                let inner = self.any()?;
                self.depth -= 1;
                if self.takes(")")? { Ok(inner) } else { Err(self.unclosed()) }
            }
            Word::Constant(written, value) => Ok(Part::Constant(written, value)),
            Word::Name(name) => self.call(name),
            Word::Symbol(sign @ ("-" | "+")) => Err(format!("{sign} is not supported")),
            Word::Symbol(_) | Word::End => {
                let text = format!("expected operand, found {}", describe(&token.kind));
                Err(self.lexer.error(token.at, &text))
            }
        }
    }

    /// One level deeper; a bound, so that no text can exhaust the stack.
    fn enter(&mut self, at: usize) -> Result<(), String> {
        self.depth += 1;
        if self.depth <= DEEPEST {
            return Ok(());
        }
        let text = format!("more than {DEEPEST} nested parentheses and negations");
        Err(self.lexer.error(at, &text))
    }

    fn call(&mut self, name: &'a str) -> Result<Part<'a, F>, String> {
        if !self.takes("(")? {
            return Err(match self.functions.iter().find(|function| function.name == name) {
                Some(_) => format!("{name} is not defined (write {name}())"),
                None => format!("{name} is not defined"),
            });
        }
        let functions = self.functions;
        let Some(function) = functions.iter().find(|function| function.name == name) else {
            return Err(format!("unsupported function: {name}"));
        };
        let mut arguments = Vec::new();
        while !self.takes(")")? {
            arguments.push(self.argument(function, arguments.len())?);
            if !self.takes(",")? && self.ahead.kind != Word::Symbol(")") {
                let text = "missing ',' in argument list";
                return Err(self.lexer.error(self.ahead.at, text));
            }
        }
        let (wanted, given) = (function.takes.len(), arguments.len());
        if given < wanted {
            return Err(format!("{name}: {given} arguments, expected {wanted}"));
        }
        let call = (function.make)(&arguments);
        let call = call.ok_or_else(|| format!("{name}: arguments without meaning"))?;
        Ok(Part::Call(function.name, function.gives, call))
    }

    fn argument(&mut self, function: &Function<F>, place: usize) -> Result<Value, String> {
        let token = self.take()?;
        let Word::Constant(written, value) = token.kind else {
            if let Word::Name(name) = token.kind {
                return Err(format!("{name} is not defined"));
            }
            let text = format!("expected a constant, found {}", describe(&token.kind));
            return Err(self.lexer.error(token.at, &text));
        };
        let (name, kind) = (function.name, value.kind());
        match function.takes.get(place) {
            Some(wanted) if *wanted == kind => Ok(value),
            Some(wanted) => Err(format!(
                "{name}: expected {}, got {} {written}{}",
                wanted.name(),
                kind.name(),
                hint(*wanted, &value)
            )),
            None => Err(format!("{name}: more than {} arguments", function.takes.len())),
        }
    }

    fn unclosed(&self) -> String {
        // Go's parser calls the end of the text a new line here.
        let found = match &self.ahead.kind {
            Word::End => "newline".to_owned(),
            found @ (Word::Name(_) | Word::Constant(..) | Word::Symbol(_)) => describe(found),
        };
        self.lexer.error(self.ahead.at, &format!("expected ')', found {found}"))
    }

    /// Something after a whole expression.
    fn trailing(&self) -> String {
        match self.ahead.kind {
            Word::Symbol(operator @ ("&" | "|")) => {
                format!("{operator} is not supported (use {operator}{operator})")
            }
            Word::Symbol(operator @ ("+" | "-" | "*" | "/" | "%" | "^" | "<<" | ">>")) => {
                format!("{operator} is not supported")
            }
            Word::Symbol("=") => self.lexer.error(self.ahead.at, "expected '==', found '='"),
            Word::Name(_) | Word::Constant(..) | Word::Symbol(_) | Word::End => {
                let text = format!("expected 'EOF', found {}", describe(&self.ahead.kind));
                self.lexer.error(self.ahead.at, &text)
            }
        }
    }
}

/// A call left, a constant of the same kind right. Texts have no order.
fn compare<F>(
    left: Part<'_, F>,
    word: &str,
    comparison: Comparison,
    right: Part<'_, F>,
) -> Result<Predicate<F>, String> {
    let unsupported = |part: &Part<'_, F>, mend: &str| {
        Err(format!("{word}: unsupported argument: {}{mend}", part.describe()))
    };
    let Part::Call(_, kind, call) = left else {
        let mend = match left {
            Part::Constant(..) => " (write the function on the left, the number on the right)",
            Part::Call(..) | Part::Predicate(_) => "",
        };
        return unsupported(&left, mend);
    };
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if kind == Kind::Truth || (kind == Kind::Text && !is_equality) {
        return Err(format!("{word}: unsupported argument: {}", kind.name()));
    }
    match right {
        Part::Constant(_, value) if value.kind() == kind => {
            Ok(Predicate::Compare(call, comparison, value))
        }
        Part::Constant(written, value) => Err(format!(
            "expected {}, got {} {written}{}",
            kind.name(),
            value.kind().name(),
            hint(kind, &value)
        )),
        Part::Call(..) | Part::Predicate(_) => {
            Err(format!("expected a constant of type {}, got {}", kind.name(), right.describe()))
        }
    }
}

/// How to write a constant as the wanted kind.
fn hint(wanted: Kind, value: &Value) -> String {
    match (wanted, value) {
        (Kind::Float, Value::Int(value)) => format!(" (write {value}.0)"),
        (Kind::Int, Value::Float(_)) => " (write a whole number)".to_owned(),
        _ => String::new(),
    }
}

/// A token as Go's parser names it.
fn describe(kind: &Word<'_>) -> String {
    match kind {
        Word::Name(name) => (*name).to_owned(),
        Word::Constant(written, _) => (*written).to_owned(),
        Word::Symbol(symbol) => format!("'{symbol}'"),
        Word::End => "'EOF'".to_owned(),
    }
}
