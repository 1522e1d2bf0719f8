//! Rule text to a tree of calls. `&&` binds tighter than `||`.

use std::ops::Range;

use super::lex::{Kind, Lexer, Token};
use super::{DEEPEST, LONGEST, RuleError, Tree};

/// A matcher as written: its name and texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) arguments: Vec<String>,
    pub(super) span: Range<usize>,
}

/// Reads an expression over calls.
pub(super) fn tree(text: &str) -> Result<Tree<Call>, RuleError> {
    if text.len() > LONGEST {
        let text = format!("longer than {LONGEST} bytes");
        return Err(RuleError::parsing(LONGEST..LONGEST, text)
            .mend("split the rule over several routers with the same service"));
    }
    let mut lexer = Lexer::new(text);
    let ahead = lexer.next()?;
    let mut parser = Parser { lexer, ahead, depth: 0 };
    let tree = parser.any()?;
    if parser.ahead.kind == Kind::End { Ok(tree) } else { Err(parser.trailing()) }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token that comes next.
    ahead: Token<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Result<Token<'a>, RuleError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    fn any(&mut self) -> Result<Tree<Call>, RuleError> {
        let first = self.all()?;
        if self.ahead.kind != Kind::Or {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.ahead.kind == Kind::Or {
            self.take()?;
            parts.push(self.all()?);
        }
        Ok(Tree::Or(parts))
    }

    fn all(&mut self) -> Result<Tree<Call>, RuleError> {
        let first = self.operand()?;
        if self.ahead.kind != Kind::And {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.ahead.kind == Kind::And {
            self.take()?;
            parts.push(self.operand()?);
        }
        Ok(Tree::And(parts))
    }

    fn operand(&mut self) -> Result<Tree<Call>, RuleError> {
        let token = self.take()?;
        match token.kind {
            Kind::Not => {
                self.enter(&token.span)?;
                let inner = self.operand()?;
                self.depth -= 1;
                Ok(Tree::Not(Box::new(inner)))
            }
            Kind::Open => {
                self.enter(&token.span)?;
                let inner = self.any()?;
                self.depth -= 1;
                self.close()?;
                Ok(inner)
            }
            Kind::Word(name) => self.call(name, token.span),
            Kind::Text(_) => Err(RuleError::parsing(token.span, "obtaining build tree")
                .mend("put the text into a matcher: Host(`example.org`)")),
            Kind::Other(operator) if operator == "-" || operator == "+" => {
                Err(RuleError::parsing(token.span, format!("{operator} is not supported")))
            }
            Kind::And | Kind::Or | Kind::Close | Kind::Comma | Kind::Other(_) | Kind::End => {
                Err(self.unexpected(&token))
            }
        }
    }

    /// One level deeper; a bound, so that no text can exhaust the stack.
    fn enter(&mut self, span: &Range<usize>) -> Result<(), RuleError> {
        self.depth += 1;
        if self.depth <= DEEPEST {
            return Ok(());
        }
        let text = format!("more than {DEEPEST} nested parentheses and negations");
        Err(self
            .lexer
            .error(span.clone(), &text)
            .mend("split the rule over several routers with the same service"))
    }

    fn close(&mut self) -> Result<(), RuleError> {
        if self.ahead.kind == Kind::Close {
            self.take()?;
            return Ok(());
        }
        // Go's parser calls the end of the text a new line here.
        let found = if self.ahead.kind == Kind::End {
            "newline".to_owned()
        } else {
            describe(&self.ahead.kind)
        };
        let error =
            self.lexer.error(self.ahead.span.clone(), &format!("expected ')', found {found}"));
        Err(error.mend("close the parenthesis"))
    }

    fn call(&mut self, name: &str, name_span: Range<usize>) -> Result<Tree<Call>, RuleError> {
        if self.ahead.kind != Kind::Open {
            return Err(self.not_called(name, name_span));
        }
        self.take()?;
        let mut arguments = Vec::new();
        while self.ahead.kind != Kind::Close {
            arguments.push(self.argument()?);
            if self.ahead.kind == Kind::Comma {
                self.take()?;
            } else if self.ahead.kind != Kind::Close {
                return Err(self.unseparated());
            }
        }
        let end = self.take()?.span.end;
        let span = name_span.start..end;
        Ok(Tree::Match(Call { name: name.to_owned(), name_span, arguments, span }))
    }

    fn argument(&mut self) -> Result<String, RuleError> {
        let token = self.take()?;
        if let Kind::Text(text) = token.kind {
            return Ok(text);
        }
        let Kind::Word(word) = token.kind else {
            return Err(self.unexpected(&token));
        };
        let text = format!("{word} is not defined");
        let mend = format!("put the argument in back-ticks: `{word}`");
        Err(RuleError::parsing(token.span, text).mend(mend))
    }

    /// A name without arguments.
    fn not_called(&self, name: &str, name_span: Range<usize>) -> RuleError {
        if matches!(self.ahead.kind, Kind::Text(_)) {
            let text = format!("expected 'EOF', found {}", describe(&self.ahead.kind));
            return self
                .lexer
                .error(self.ahead.span.clone(), &text)
                .mend(format!("put the argument in parentheses: {name}(`...`)"));
        }
        RuleError::parsing(name_span, format!("{name} is not defined"))
            .mend(format!("a matcher needs its arguments: {name}(`...`)"))
    }

    fn unseparated(&self) -> RuleError {
        let (text, mend) = if self.ahead.kind == Kind::End {
            ("missing ',' before newline in argument list", "close the parenthesis")
        } else {
            ("missing ',' in argument list", "separate arguments with `,`")
        };
        self.lexer.error(self.ahead.span.clone(), text).mend(mend)
    }

    fn unexpected(&self, found: &Token<'_>) -> RuleError {
        let text = format!("expected operand, found {}", describe(&found.kind));
        let error = self.lexer.error(found.span.clone(), &text);
        if found.kind == Kind::End {
            return error.mend("the rule ends too early: add a matcher or drop the operator");
        }
        error
    }

    /// Something after a whole expression.
    fn trailing(&self) -> RuleError {
        let token = &self.ahead;
        if let Kind::Other(operator @ ("|" | "&" | "+" | "-" | "*" | "/" | "%" | "==" | "!=")) =
            token.kind
        {
            let error =
                RuleError::parsing(token.span.clone(), format!("{operator} is not supported"));
            return match operator {
                "|" | "&" => error.mend(format!("did you mean `{operator}{operator}`?")),
                _ => error,
            };
        }
        let text = format!("expected 'EOF', found {}", describe(&token.kind));
        let error = self.lexer.error(token.span.clone(), &text);
        match &token.kind {
            Kind::Word(word) if word.eq_ignore_ascii_case("and") => {
                error.mend("did you mean `&&`?")
            }
            Kind::Word(word) if word.eq_ignore_ascii_case("or") => error.mend("did you mean `||`?"),
            Kind::Word(_) | Kind::Not | Kind::Open => error.mend("join matchers with `&&` or `||`"),
            Kind::Close => error.mend("there is one `)` too many"),
            Kind::Text(_) | Kind::And | Kind::Or | Kind::Comma | Kind::Other(_) | Kind::End => {
                error
            }
        }
    }
}

/// A token as Go's parser names it.
fn describe(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Word(word) => (*word).to_owned(),
        Kind::Text(text) => super::print::argument(text),
        Kind::And => "'&&'".to_owned(),
        Kind::Or => "'||'".to_owned(),
        Kind::Not => "'!'".to_owned(),
        Kind::Open => "'('".to_owned(),
        Kind::Close => "')'".to_owned(),
        Kind::Comma => "','".to_owned(),
        Kind::Other(operator) => format!("'{operator}'"),
        Kind::End => "'EOF'".to_owned(),
    }
}
