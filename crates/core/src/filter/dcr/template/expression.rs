//! Template expressions, evaluated: the functions that say what a rule is called and made of.
//!
//! `if` looks only at the branch that it takes, as ARM does: the other may ask for what is not there. What depends on the
//! deployment and was not told is a text that says so ([`unknown`](super::unknown)), or has no value.

use serde_json::Value;

use super::functions;
use super::parse::{Expr, parse};
use super::scope::Resolver;
use super::unresolved;

/// Evaluates what stands between `[` and `]`; the error says why it has no value.
pub(super) fn evaluate(text: &str, resolver: &mut Resolver<'_>) -> Result<Value, String> {
    let expr = parse(text)?;
    Evaluation { resolver, names: Vec::new() }.value(&expr)
}

struct Evaluation<'r, 's> {
    resolver: &'r mut Resolver<'s>,
    /// The variables of lambdas, the innermost last.
    names: Vec<(String, Value)>,
}

impl Evaluation<'_, '_> {
    fn value(&mut self, expr: &Expr) -> Result<Value, String> {
        match expr {
            Expr::Text(text) => Ok(Value::from(text.as_str())),
            Expr::Number(number) => Ok(Value::from(*number)),
            Expr::Call(name, arguments) => self.call(name, arguments),
            Expr::Member(of, keys) => {
                let mut value = self.value(of)?;
                for key in keys {
                    value = functions::member(value, &self.value(key)?)?;
                }
                Ok(value)
            }
        }
    }

    /// The value of an argument, which has to be known.
    fn argument(&mut self, expr: &Expr) -> Result<Value, String> {
        let value = self.value(expr)?;
        match unresolved(&value) {
            Some((_, why)) => Err(why.to_owned()),
            None => Ok(value),
        }
    }

    fn call(&mut self, name: &str, arguments: &[Expr]) -> Result<Value, String> {
        match (name, arguments) {
            ("if", [condition, then, otherwise]) => match self.argument(condition)? {
                Value::Bool(holds) => self.value(if holds { then } else { otherwise }),
                _ => Err("if asks for something that is true or false".to_owned()),
            },
            ("coalesce", [_, ..]) => self.first_given(arguments),
            ("map" | "filter", [list, lambda]) => self.each(name == "map", list, lambda),
            ("lambdavariables", [wanted]) => self.named(wanted),
            _ => {
                let values: Vec<Value> = arguments.iter().map(|one| self.argument(one)).collect::<Result<_, _>>()?;
                self.function(name, &values)
            }
        }
    }

    fn function(&mut self, name: &str, values: &[Value]) -> Result<Value, String> {
        match (name, values) {
            ("parameters", [Value::String(parameter)]) => self.resolver.parameter(parameter),
            ("variables", [Value::String(variable)]) => self.resolver.variable(variable),
            ("copyindex", _) => self.resolver.copy_index(values),
            _ => {
                let value = functions::call(name, values, self.resolver.deployment())?;
                self.resolver.spend(&value)?;
                Ok(value)
            }
        }
    }

    fn first_given(&mut self, arguments: &[Expr]) -> Result<Value, String> {
        for argument in arguments {
            let value = self.argument(argument)?;
            if !value.is_null() {
                return Ok(value);
            }
        }
        Ok(Value::Null)
    }

    /// What a lambda makes of each item of a list, or the items of which it holds.
    fn each(&mut self, maps: bool, list: &Expr, lambda: &Expr) -> Result<Value, String> {
        let Value::Array(items) = self.argument(list)? else {
            return Err("map and filter go through a list".to_owned());
        };
        let (name, body) = match lambda {
            Expr::Call(called, parts) if called == "lambda" => match parts.as_slice() {
                [Expr::Text(name), body] => (name, body),
                _ => return Err("a lambda of one variable was expected".to_owned()),
            },
            _ => return Err("a lambda was expected".to_owned()),
        };
        let mut made = Vec::new();
        for item in items {
            self.resolver.spend(&item)?;
            self.names.push((name.clone(), item.clone()));
            let value = self.argument(body);
            self.names.pop();
            match (maps, value?) {
                (true, value) => made.push(value),
                (false, Value::Bool(true)) => made.push(item),
                (false, _) => {}
            }
        }
        Ok(Value::Array(made))
    }

    fn named(&mut self, wanted: &Expr) -> Result<Value, String> {
        let wanted = self.argument(wanted)?;
        let found = self.names.iter().rev().find(|(name, _)| Some(name.as_str()) == wanted.as_str());
        found.map(|(_, value)| value.clone()).ok_or_else(|| format!("there is no variable {wanted} of a lambda here"))
    }
}
