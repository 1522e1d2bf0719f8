use super::*;

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Attempts,
    Method,
    IsDown,
    Share,
    Codes(i64, i64),
    Quantile(f64),
}

const FUNCTIONS: &[Function<Call>] = &[
    Function { name: "Attempts", takes: &[], gives: Kind::Int, make: |_| Some(Call::Attempts) },
    Function { name: "Method", takes: &[], gives: Kind::Text, make: |_| Some(Call::Method) },
    Function { name: "IsDown", takes: &[], gives: Kind::Truth, make: |_| Some(Call::IsDown) },
    Function { name: "Share", takes: &[], gives: Kind::Float, make: |_| Some(Call::Share) },
    Function {
        name: "Codes",
        takes: &[Kind::Int, Kind::Int],
        gives: Kind::Float,
        make: |arguments| match arguments {
            [Value::Int(from), Value::Int(to)] => Some(Call::Codes(*from, *to)),
            _ => None,
        },
    },
    Function {
        name: "Quantile",
        takes: &[Kind::Float],
        gives: Kind::Int,
        make: |arguments| match arguments {
            [Value::Float(quantile)] if (0.0..=100.0).contains(quantile) => {
                Some(Call::Quantile(*quantile))
            }
            _ => None,
        },
    },
];

/// 3 attempts, GET, down, a share of 0.5, codes of 0.25, a quantile of ten times its argument.
fn ask(call: &Call) -> Value {
    match call {
        Call::Attempts => Value::Int(3),
        Call::Method => Value::Text("GET".to_owned()),
        Call::IsDown => Value::Truth(true),
        Call::Share => Value::Float(0.5),
        Call::Codes(from, to) => Value::Float(if (*from, *to) == (500, 600) { 0.25 } else { 0.0 }),
        #[expect(clippy::cast_possible_truncation, reason = "at most 1000")]
        Call::Quantile(quantile) => Value::Int((quantile * 10.0) as i64),
    }
}

fn holds(text: &str) -> bool {
    parse(text, FUNCTIONS).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&mut ask)
}

#[test]
fn calls_are_compared_with_constants() {
    for (text, truth) in [
        ("Attempts() < 3", false),
        ("Attempts() < 4", true),
        ("Attempts() <= 3", true),
        ("Attempts() > 3", false),
        ("Attempts() >= 3", true),
        ("Attempts() == 3", true),
        ("Attempts() != 3", false),
        ("Attempts() == 003", true),
        ("Share() > 0.49", true),
        ("Share() > .5", false),
        ("Share() >= 5e-1", true),
        ("Share() < 5.E-1", false),
        ("Codes(500, 600) > 0.2", true),
        ("Codes(400, 600,) > 0.2", false),
        ("Quantile(50.0) == 500", true),
        ("Method() == \"GET\"", true),
        ("Method() != `GET`", false),
        ("IsDown()", true),
        ("(Share()) > (0.1)", true),
        ("Attempts()\n\t==\r\n3", true),
    ] {
        assert_eq!(holds(text), truth, "{text}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    for (text, truth) in [
        ("IsDown() || IsDown() && Attempts() == 0", true),
        ("(IsDown() || IsDown()) && Attempts() == 0", false),
        ("!IsDown() || Attempts() == 3", true),
        ("!(IsDown() || Attempts() == 3)", false),
        ("!!IsDown() && !!!(Share() > 0.9)", true),
        ("IsDown() && Attempts() == 3 && Share() == 0.5 && Attempts() == 4", false),
    ] {
        assert_eq!(holds(text), truth, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_told() {
    for (text, error) in [
        ("Foo() > 0.5", "unsupported function: Foo"),
        ("attempts() > 1", "unsupported function: attempts"),
        ("a.b() > 1", "unsupported function: a.b"),
        ("true", "true is not defined"),
        ("Attempts", "Attempts is not defined (write Attempts())"),
        ("Codes(a, 1) > 0.5", "a is not defined"),
        ("", "1:1: expected operand, found 'EOF'"),
        ("IsDown() &&", "1:12: expected operand, found 'EOF'"),
        ("IsDown() && &&", "1:13: expected operand, found '&&'"),
        ("(IsDown()", "1:10: expected ')', found newline"),
        ("IsDown())", "1:9: expected 'EOF', found ')'"),
        ("IsDown() IsDown()", "1:10: expected 'EOF', found IsDown"),
        ("IsDown()\n and IsDown()", "2:2: expected 'EOF', found and"),
        ("IsDown();", "1:9: expected 'EOF', found ';'"),
        ("Attempts() = 3", "1:12: expected '==', found '='"),
        ("IsDown() & IsDown()", "& is not supported (use &&)"),
        ("Attempts() + 1 > 3", "+ is not supported"),
        ("Attempts() > -1", "- is not supported"),
        ("Codes(-1, 2) > 0.5", "1:7: expected a constant, found '-'"),
        ("Codes(1 2) > 0.5", "1:9: missing ',' in argument list"),
        ("Codes(1", "1:8: missing ',' in argument list"),
        ("Attempts() > 0x10", "failed to parse argument: 0x10, error: invalid syntax"),
        ("Share() > 1.2.3", "failed to parse argument: 1.2.3, error: invalid syntax"),
        ("Share() > 1e999", "failed to parse argument: 1e999, error: value out of range"),
        (
            "Attempts() > 99999999999999999999",
            "failed to parse argument: 99999999999999999999, error: value out of range",
        ),
        ("IsDown() # x", "1:10: illegal character U+0023 '#'"),
        ("Method() == \"GET", "1:13: string literal not terminated"),
        ("Method() == `GET", "1:13: raw string literal not terminated"),
        ("Method() == \"\\n\"", "1:14: escapes are not supported in a text (use back-ticks)"),
        (
            "Method() == 'G'",
            "unsupported function argument type: 'CHAR' (write texts in double quotes)",
        ),
    ] {
        assert_eq!(parse(text, FUNCTIONS), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn only_what_is_of_one_kind_is_compared() {
    for (text, error) in [
        ("Attempts() > 2.0", "expected int, got float64 2.0 (write a whole number)"),
        ("Share() > 0", "expected float64, got int 0 (write 0.0)"),
        ("Share() == \"a\"", "expected float64, got string \"a\""),
        ("Share() > Share()", "expected a constant of type float64, got float64 Share()"),
        (
            "0.5 < Share()",
            "lt: unsupported argument: float64 0.5 (write the function on the left, the number \
             on the right)",
        ),
        ("Share() > 0.5 > 0.3", "gt: unsupported argument: predicate"),
        ("IsDown() == 1", "eq: unsupported argument: predicate"),
        ("Method() < \"GET\"", "lt: unsupported argument: string"),
        (
            "!Share() > 0.5",
            "!: expected predicate, got Share() of type float64 (compare it with a number)",
        ),
        ("Share()", "expected predicate, got Share() of type float64 (compare it with a number)"),
        ("0.5", "expected predicate, got float64 0.5"),
        ("IsDown() && 3", "expected predicate, got int 3"),
        ("Codes(500) > 0.1", "Codes: 1 arguments, expected 2"),
        ("Attempts(1) > 1", "Attempts: more than 0 arguments"),
        ("Codes(1, 2.0) > 0.1", "Codes: expected int, got float64 2.0 (write a whole number)"),
        ("Quantile(50) > 1", "Quantile: expected float64, got int 50 (write 50.0)"),
        ("Quantile(101.0) > 1", "Quantile: arguments without meaning"),
    ] {
        assert_eq!(parse(text, FUNCTIONS), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |depth| format!("{}IsDown(){}", "(".repeat(depth), ")".repeat(depth));

    assert!(parse(&nested(DEEPEST), FUNCTIONS).is_ok());
    let error = parse(&nested(DEEPEST + 1), FUNCTIONS).unwrap_err();
    assert_eq!(error, "1:33: more than 32 nested parentheses and negations");
    assert!(parse(&format!("{}IsDown()", "!".repeat(40)), FUNCTIONS).is_err());
    let long = format!("{}IsDown()", " ".repeat(LONGEST));
    assert_eq!(
        parse(&long, FUNCTIONS).unwrap_err(),
        "an expression of 4104 bytes; 4096 are the most"
    );
}
