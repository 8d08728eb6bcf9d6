//! Files with templates, and what is given to each beside it.

use super::{Material, Text, read};
use crate::filter::config::RuleConfig;
use crate::filter::dcr::Given;

/// How the stem of a file of parameters ends, before that of the template's.
const PARAMETERS: &str = ".parameters";

/// What the configuration gives to the templates of a rule.
pub(super) fn given(material: &Material<'_>, rule: &RuleConfig, wrong: &mut dyn FnMut(&str, String)) -> Given {
    let mut given = Given::default();
    if let Some(path) = &rule.parameters {
        for text in read(material, path, &mut |message| wrong("parameters", message)) {
            if let Err(message) = given.add_file(&text.text) {
                wrong("parameters", format!("{} {message}", text.path));
            }
        }
    }
    // What is no resource group has been reported with the section.
    rule.resource_group.iter().for_each(|id| drop(given.set_group(id)));
    given
}

/// The files of a folder that may hold rules, each with what is given to it: `NAME.parameters.json` has the parameters of
/// `NAME.json`. A single file is taken as it is.
pub fn paired(texts: Vec<Text>, given: &Given, mut wrong: impl FnMut(String)) -> Vec<(Text, Given)> {
    let is_single = texts.len() == 1;
    let is_parameters = |text: &Text| !is_single && text.stem.to_ascii_lowercase().ends_with(PARAMETERS);
    let (parameters, texts): (Vec<Text>, Vec<Text>) = texts.into_iter().partition(is_parameters);
    let mut paired: Vec<(Text, Given)> = texts.into_iter().map(|text| (text, given.clone())).collect();
    for text in parameters {
        let stem = &text.stem[..text.stem.len() - PARAMETERS.len()];
        match paired.iter_mut().find(|(template, _)| template.stem.eq_ignore_ascii_case(stem)) {
            Some((_, given)) => {
                if let Err(message) = given.add_file(&text.text) {
                    wrong(format!("{} {message}", text.path));
                }
            }
            None => wrong(format!("{} has parameters, and no {stem}.json stands beside it", text.path)),
        }
    }
    paired
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
