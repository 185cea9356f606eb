// SPDX-License-Identifier: BSD-3-Clause
//! Reads declarations from the header's words, each with the comments before it.

use crate::words::{preprocess, tokens, Token};

/// A name with its type in Rust and what is said of it: a member of a struct, or an argument.
pub struct Member {
    pub name: String,
    pub rust_type: String,
    pub comment: Vec<String>,
}

/// One declaration.
pub enum Item {
    Constant {
        name: String,
        rust_type: String,
        value: i64,
    },
    /// Another name for a type, a pointer to a function included.
    Alias {
        name: String,
        rust_type: String,
    },
    /// A struct of which only the library knows what is in it.
    Handle {
        name: String,
    },
    Struct {
        name: String,
        members: Vec<Member>,
    },
    Function {
        name: String,
        arguments: Vec<Member>,
        returns: Option<String>,
    },
}

/// What the header declares, in its order, each with its comment, a paragraph for each comment of the header's.
#[derive(Default)]
pub struct Header {
    pub items: Vec<(Vec<String>, Item)>,
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("the header ends early")?;
        self.at += 1;
        Ok(token)
    }

    fn is(&mut self, mark: char) -> bool {
        let is = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is);
        is
    }

    fn is_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.is(mark) {
            return Ok(());
        }
        Err(format!(
            "{mark:?} is expected, but there is {:?}",
            self.peek()
        ))
    }

    fn word(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => Err(format!("a name is expected, but there is {other:?}")),
        }
    }

    /// Comments here, those after code on the same line alone, or all.
    fn comments(&mut self, same_line: bool) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(Token::Comment(text, after)) = self.peek() {
            if same_line && !after {
                break;
            }
            found.push(text.clone());
            self.at += 1;
        }
        found
    }

    /// A type with its stars, in Rust. None: void.
    fn rust_type(&mut self) -> Result<Option<String>, String> {
        let mut constant = self.is_word("const");
        let base = self.word()?;
        let mut made = match base.as_str() {
            "int32_t" => "i32".to_string(),
            "uint32_t" => "u32".to_string(),
            "int64_t" => "i64".to_string(),
            "uint64_t" => "u64".to_string(),
            "size_t" => "usize".to_string(),
            "double" => "f64".to_string(),
            "char" => "c_char".to_string(),
            "void" => "c_void".to_string(),
            name if name.starts_with("attn_") => name.to_string(),
            name => return Err(format!("an unknown type: {name}")),
        };
        let plain = self.stars(&mut made, &mut constant);
        Ok((base != "void" || !plain).then_some(made))
    }

    /// Adds the stars that there are to a type; whether there are none.
    fn stars(&mut self, made: &mut String, constant: &mut bool) -> bool {
        let mut plain = true;
        while self.is('*') {
            *made = format!("*{} {made}", if *constant { "const" } else { "mut" });
            *constant = self.is_word("const");
            plain = false;
        }
        plain
    }

    fn array(&mut self, rust_type: String) -> Result<String, String> {
        if !self.is('[') {
            return Ok(rust_type);
        }
        let count = self.word()?;
        self.expect(']')?;
        Ok(format!("[{rust_type}; {count}]"))
    }

    fn arguments(&mut self) -> Result<Vec<Member>, String> {
        let mut found = Vec::new();
        self.expect('(')?;
        loop {
            let Member {
                name, rust_type, ..
            } = match self.rust_type()? {
                None => break self.expect(')')?,
                Some(rust_type) => Member {
                    name: self.word()?,
                    rust_type,
                    comment: Vec::new(),
                },
            };
            found.push(Member {
                name,
                rust_type,
                comment: Vec::new(),
            });
            if !self.is(',') {
                break self.expect(')')?;
            }
        }
        Ok(found)
    }

    fn members(&mut self) -> Result<Vec<Member>, String> {
        let mut found: Vec<Member> = Vec::new();
        loop {
            let mut comment = self.comments(false);
            if self.is('}') {
                return Ok(found);
            }
            let rust_type = self.rust_type()?.ok_or("a member that is void")?;
            let first = found.len();
            loop {
                let name = self.word()?;
                found.push(Member {
                    name,
                    rust_type: self.array(rust_type.clone())?,
                    comment: Vec::new(),
                });
                if !self.is(',') {
                    break;
                }
            }
            self.expect(';')?;
            comment.extend(self.comments(true));
            for member in &mut found[first..] {
                member.comment = comment.clone();
            }
        }
    }

    fn constants(&mut self, rust_type: &str, header: &mut Header) -> Result<(), String> {
        self.expect('{')?;
        let mut comment = Vec::new();
        loop {
            comment.extend(self.comments(false));
            if self.is('}') {
                return self.expect(';');
            }
            let name = self.word()?;
            self.expect('=')?;
            let value = self.word()?;
            let value = value.parse().map_err(|_| format!("{name} is {value}"))?;
            self.is(',');
            comment.extend(self.comments(true));
            let rust_type = rust_type.to_string();
            let item = Item::Constant {
                name,
                rust_type,
                value,
            };
            header.items.push((std::mem::take(&mut comment), item));
        }
    }
}

/// Reads what comes after `typedef`.
fn read_typedef(reader: &mut Reader) -> Result<Item, String> {
    if reader.is_word("struct") {
        let name = reader.word()?;
        if !reader.is('{') {
            reader.word()?;
            reader.expect(';')?;
            return Ok(Item::Handle { name });
        }
        let members = reader.members()?;
        reader.word()?;
        reader.expect(';')?;
        return Ok(Item::Struct { name, members });
    }
    let returns = reader.rust_type()?;
    if !reader.is('(') {
        let rust_type = returns.ok_or("a name for void")?;
        let name = reader.word()?;
        reader.expect(';')?;
        return Ok(Item::Alias { name, rust_type });
    }
    reader.expect('*')?;
    let name = reader.word()?;
    reader.expect(')')?;
    let arguments = reader.arguments()?;
    reader.expect(';')?;
    let arguments: Vec<String> = arguments
        .iter()
        .map(|a| format!("{}: {}", a.name, a.rust_type))
        .collect();
    let returns = returns.map_or(String::new(), |r| format!(" -> {r}"));
    let rust_type = format!(
        "Option<unsafe extern \"C\" fn({}){returns}>",
        arguments.join(", ")
    );
    Ok(Item::Alias { name, rust_type })
}

/// That a struct is filled with its size, then with nothing but zeros: what Default will do.
fn check_fill(header: &Header, name: &str, fill: &str) -> Result<(), String> {
    let zero = |word: &str| {
        word.parse() == Ok(0)
            || header.items.iter().any(
                |(_, item)| matches!(item, Item::Constant { name, value: 0, .. } if name == word),
            )
    };
    let size = format!("(uint32_t)sizeof({name})");
    let rest = fill
        .split_once(&size)
        .ok_or(format!("{name} is filled without its size"))?
        .1;
    let mut words = rest
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty());
    match words.find(|word| !zero(word)) {
        None => Ok(()),
        Some(word) => Err(format!("{name} is filled with {word}")),
    }
}

/// Reads the text of the header. What it does not know it refuses, in a sentence.
pub fn read(text: &str) -> Result<Header, String> {
    let (code, fills) = preprocess(text)?;
    let mut reader = Reader {
        tokens: tokens(&code)?,
        at: 0,
    };
    let mut header = Header::default();
    let mut comment: Vec<String> = Vec::new();
    let mut kind = None; // of constants: the integer that was named just before, else flags
    while reader.peek().is_some() {
        for text in reader.comments(false) {
            if text.starts_with("-----") {
                comment.clear(); // a heading, which no declaration is described by
            } else {
                comment.push(text);
            }
        }
        if reader.peek().is_none() {
            break;
        }
        let mut named = None;
        if let Some(Token::Macro(name, value)) = reader.peek().cloned() {
            reader.at += 1;
            let rust_type = "i32".to_string();
            let item = Item::Constant {
                name,
                rust_type,
                value,
            };
            header.items.push((std::mem::take(&mut comment), item));
        } else if reader.is_word("enum") {
            let first = header.items.len();
            reader.constants(kind.as_deref().unwrap_or("u32"), &mut header)?;
            if let Some((says, _)) = header.items.get_mut(first) {
                says.splice(..0, std::mem::take(&mut comment));
            }
        } else if reader.is_word("typedef") {
            let item = read_typedef(&mut reader)?;
            if let Item::Alias { name, rust_type } = &item {
                named = (rust_type == "i32").then(|| name.clone());
            }
            header.items.push((std::mem::take(&mut comment), item));
        } else {
            let returns = reader.rust_type()?;
            let name = reader.word()?;
            let arguments = reader.arguments()?;
            reader.expect(';')?;
            let item = Item::Function {
                name,
                arguments,
                returns,
            };
            header.items.push((std::mem::take(&mut comment), item));
        }
        kind = named;
    }
    for (name, fill) in &fills {
        check_fill(&header, name, fill)?;
    }
    Ok(header)
}
