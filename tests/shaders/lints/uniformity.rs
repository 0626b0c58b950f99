//! Barriers, subgroup operations and cooperative matrices stand in uniform control flow.

use crate::lints::root;
use naga::{
    AddressSpace, Barrier, Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable,
    Statement, StorageAccess, TypeInner,
};
use std::collections::{BTreeSet, HashMap};

/// The lanes over which something is certainly the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Same {
    Lane,
    Subgroup,
    Workgroup,
}

/// Barriers that not all lanes of a workgroup reach together, and subgroup operations that not all lanes of a subgroup
/// do. Walks each entry point through the functions it calls; whatever it cannot follow counts as non-uniform. Where it
/// differs from browsers it is the stricter.
pub fn non_uniform(ir: &naga::Module) -> Vec<String> {
    let mut problems = BTreeSet::new();
    for entry in &ir.entry_points {
        let mut walk = Uniformity {
            ir,
            entry: &entry.name,
            known: HashMap::new(),
            problems: &mut problems,
        };
        let argument = |argument: &naga::FunctionArgument| {
            whole(match &ir.types[argument.ty].inner {
                TypeInner::Struct { members, .. } => {
                    members.iter().map(|m| builtin(&m.binding)).collect()
                }
                _ => vec![builtin(&argument.binding)],
            })
        };
        let arguments = entry.function.arguments.iter().map(argument).collect();
        walk.function(&entry.function, arguments, Same::Workgroup);
    }
    problems.into_iter().collect()
}

/// Of the members of a struct. Browsers look at it as a whole, and so do we where a lane may differ from the next.
fn whole(mut members: Vec<Same>) -> Vec<Same> {
    if members.contains(&Same::Lane) {
        members.fill(Same::Lane);
    }
    members
}

fn least(members: &[Same]) -> Same {
    *members.iter().min().unwrap_or(&Same::Workgroup)
}

fn builtin(binding: &Option<Binding>) -> Same {
    match binding {
        Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)) => Same::Workgroup,
        Some(Binding::BuiltIn(BuiltIn::SubgroupSize | BuiltIn::SubgroupId)) => Same::Subgroup,
        _ => Same::Lane,
    }
}

/// Function, arguments, control.
type Call = (Handle<Function>, Vec<Vec<Same>>, Same);

struct Uniformity<'a> {
    ir: &'a naga::Module,
    entry: &'a str,
    /// What calls returned.
    known: HashMap<Call, Same>,
    problems: &'a mut BTreeSet<String>,
}

/// One function while it is walked. Everything in here only ever falls.
struct Frame<'a> {
    function: &'a Function,
    /// Of each argument; of each of its members if it is a struct.
    arguments: Vec<Vec<Same>>,
    values: Vec<Same>,
    locals: HashMap<Handle<LocalVariable>, Same>,
    calls: HashMap<Handle<Expression>, Same>,
    /// Control behind the returns so far.
    returned: Same,
    /// Control behind the breaks and continues so far, of every loop (true) or switch around.
    exits: Vec<(bool, Same)>,
    /// Whether a loop around has a barrier.
    barriers: bool,
    result: Same,
}

impl<'a> Uniformity<'a> {
    /// The uniformity of what the function returns.
    fn function(
        &mut self,
        function: &'a Function,
        arguments: Vec<Vec<Same>>,
        control: Same,
    ) -> Same {
        let mut frame = Frame {
            function,
            arguments,
            values: Vec::new(),
            locals: HashMap::new(),
            calls: HashMap::new(),
            returned: Same::Workgroup,
            exits: Vec::new(),
            barriers: false,
            result: Same::Workgroup,
        };
        // Until the locals stay as they are: a loop may read early what it writes late.
        loop {
            let before = (frame.locals.clone(), frame.calls.clone());
            frame.values = self.values(&frame);
            frame.returned = Same::Workgroup;
            frame.result = Same::Workgroup;
            self.block(&mut frame, &function.body, control);
            if before == (frame.locals.clone(), frame.calls.clone()) {
                return frame.result;
            }
        }
    }

    fn values(&self, frame: &Frame<'a>) -> Vec<Same> {
        let mut values: Vec<Same> = Vec::new();
        for (handle, expression) in frame.function.expressions.iter() {
            // Operands come first in the arena.
            let of = |handles: &[Handle<Expression>]| {
                let each = handles.iter().map(|h| values[h.index()]);
                each.min().unwrap_or(Same::Workgroup)
            };
            let value = match *expression {
                Expression::Literal(_)
                | Expression::Constant(_)
                | Expression::Override(_)
                | Expression::ZeroValue(_)
                | Expression::GlobalVariable(_)
                | Expression::LocalVariable(_)
                | Expression::ArrayLength(_)
                | Expression::WorkGroupUniformLoadResult { .. } => Same::Workgroup,
                Expression::Compose { ref components, .. } => of(components),
                Expression::Access { base, index } => of(&[base, index]),
                Expression::AccessIndex { base, index } => match frame.function.expressions[base] {
                    Expression::FunctionArgument(i) => {
                        let argument = &frame.arguments[i as usize];
                        let member = argument.get(index as usize);
                        *member.unwrap_or(&least(argument))
                    }
                    _ => of(&[base]),
                },
                Expression::Splat { value, .. } => of(&[value]),
                Expression::Swizzle { vector, .. } => of(&[vector]),
                Expression::FunctionArgument(i) => least(&frame.arguments[i as usize]),
                Expression::Load { pointer } => {
                    let stored = match frame.function.expressions[root(frame.function, pointer)] {
                        Expression::LocalVariable(v) => {
                            *frame.locals.get(&v).unwrap_or(&Same::Workgroup)
                        }
                        Expression::GlobalVariable(v) => match self.ir.global_variables[v].space {
                            AddressSpace::Uniform => Same::Workgroup,
                            AddressSpace::Storage { access }
                                if !access.contains(StorageAccess::STORE) =>
                            {
                                Same::Workgroup
                            }
                            _ => Same::Lane,
                        },
                        _ => Same::Lane,
                    };
                    stored.min(of(&[pointer]))
                }
                Expression::Unary { expr, .. } | Expression::As { expr, .. } => of(&[expr]),
                Expression::Binary { left, right, .. } => of(&[left, right]),
                Expression::Select {
                    condition,
                    accept,
                    reject,
                } => of(&[condition, accept, reject]),
                Expression::Relational { argument, .. } => of(&[argument]),
                Expression::Math {
                    arg,
                    arg1,
                    arg2,
                    arg3,
                    ..
                } => [Some(arg), arg1, arg2, arg3]
                    .into_iter()
                    .flatten()
                    .map(|h| of(&[h]))
                    .min()
                    .unwrap_or(Same::Lane),
                Expression::CallResult(_) => *frame.calls.get(&handle).unwrap_or(&Same::Workgroup),
                _ => Same::Lane,
            };
            values.push(value);
        }
        values
    }

    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, control: Same) {
        for statement in block.iter() {
            let exits = frame.exits.iter().map(|(_, control)| *control);
            let here = exits.chain([control, frame.returned]).min().unwrap();
            let value =
                |frame: &Frame<'_>, handle: Handle<Expression>| frame.values[handle.index()];
            match *statement {
                Statement::Emit(ref range) => {
                    for handle in range.clone() {
                        match frame.function.expressions[handle] {
                            Expression::CooperativeLoad { ref data, .. } => {
                                let both = here.min(value(frame, data.pointer));
                                self.require("a cooperative load", both, Same::Subgroup);
                            }
                            Expression::CooperativeMultiplyAdd { .. } => {
                                self.require("a cooperative product", here, Same::Subgroup);
                            }
                            _ => {}
                        }
                    }
                }
                Statement::CooperativeStore { ref data, .. } => {
                    let both = here.min(value(frame, data.pointer));
                    self.require("a cooperative store", both, Same::Subgroup);
                }
                Statement::MemoryBarrier(_) | Statement::Atomic { .. } => {}
                Statement::Block(ref block) => self.block(frame, block, control),
                Statement::If {
                    condition,
                    ref accept,
                    ref reject,
                } => {
                    let inside = control.min(value(frame, condition));
                    self.block(frame, accept, inside);
                    self.block(frame, reject, inside);
                }
                Statement::Switch {
                    selector,
                    ref cases,
                } => {
                    let inside = control.min(value(frame, selector));
                    frame.exits.push((false, Same::Workgroup));
                    for case in cases {
                        self.block(frame, &case.body, inside);
                    }
                    frame.exits.pop();
                }
                Statement::Loop {
                    ref body,
                    ref continuing,
                    break_if,
                } => {
                    if frame.barriers && control < Same::Workgroup {
                        let entry = self.entry;
                        let what =
                            "a loop of some lanes in a loop with a barrier, which FXC refuses";
                        self.problems.insert(format!("{entry}: {what}"));
                    }
                    let around = frame.barriers;
                    frame.barriers |= has_barrier(body) || has_barrier(continuing);
                    frame.exits.push((true, Same::Workgroup));
                    // What leaves the loop late decides who is in it from the second round on.
                    loop {
                        let before = (frame.exits.clone(), frame.returned);
                        self.block(frame, body, control);
                        self.block(frame, continuing, control);
                        let last = frame.exits.last_mut().unwrap();
                        last.1 = break_if.map_or(last.1, |b| last.1.min(frame.values[b.index()]));
                        if before == (frame.exits.clone(), frame.returned) {
                            break;
                        }
                    }
                    frame.exits.pop();
                    frame.barriers = around;
                }
                Statement::Break => {
                    let last = frame.exits.last_mut().unwrap();
                    last.1 = last.1.min(here);
                }
                Statement::Continue => {
                    let around = frame.exits.iter_mut().rev().find(|(is_loop, _)| *is_loop);
                    let around = around.unwrap();
                    around.1 = around.1.min(here);
                }
                Statement::Return { value: returned } => {
                    frame.returned = frame.returned.min(here);
                    let returned = returned.map_or(here, |v| here.min(value(frame, v)));
                    frame.result = frame.result.min(returned);
                }
                Statement::Kill => frame.returned = Same::Lane,
                Statement::ControlBarrier(Barrier::SUB_GROUP) => {
                    self.require("a subgroup barrier", here, Same::Subgroup);
                }
                Statement::ControlBarrier(_) => self.require("a barrier", here, Same::Workgroup),
                Statement::WorkGroupUniformLoad { pointer, .. } => {
                    let both = here.min(value(frame, pointer));
                    self.require("workgroupUniformLoad", both, Same::Workgroup);
                }
                Statement::SubgroupBallot { .. }
                | Statement::SubgroupGather { .. }
                | Statement::SubgroupCollectiveOperation { .. } => {
                    self.require("a subgroup operation", here, Same::Subgroup);
                }
                Statement::Store { pointer, value: v } => {
                    let at = root(frame.function, pointer);
                    if let Expression::LocalVariable(local) = frame.function.expressions[at] {
                        let stored = here.min(value(frame, v)).min(value(frame, pointer));
                        fall(&mut frame.locals, local, stored);
                    }
                }
                Statement::Call {
                    function,
                    ref arguments,
                    result,
                } => {
                    let callee = &self.ir.functions[function];
                    let mut values = Vec::new();
                    for (handle, argument) in arguments.iter().zip(&callee.arguments) {
                        // Behind a pointer anything may be stored.
                        if self.ir.types[argument.ty].inner.pointer_space().is_some() {
                            let at = root(frame.function, *handle);
                            if let Expression::LocalVariable(v) = frame.function.expressions[at] {
                                fall(&mut frame.locals, v, Same::Lane);
                            }
                            values.push(vec![Same::Lane]);
                        } else {
                            values.push(match frame.function.expressions[*handle] {
                                Expression::FunctionArgument(i) => {
                                    frame.arguments[i as usize].clone()
                                }
                                Expression::Compose { ty, ref components }
                                    if matches!(
                                        self.ir.types[ty].inner,
                                        TypeInner::Struct { .. }
                                    ) =>
                                {
                                    whole(components.iter().map(|c| value(frame, *c)).collect())
                                }
                                _ => vec![value(frame, *handle)],
                            });
                        }
                    }
                    let key = (function, values.clone(), here);
                    let returned = match self.known.get(&key) {
                        Some(returned) => *returned,
                        None => self.function(callee, values, here),
                    };
                    self.known.insert(key, returned);
                    if let Some(result) = result {
                        fall(&mut frame.calls, result, returned);
                    }
                }
                ref other => {
                    let entry = self.entry;
                    self.problems
                        .insert(format!("{entry}: {other:?}, which no kernel needs"));
                }
            }
        }
    }

    fn require(&mut self, what: &str, here: Same, needed: Same) {
        if here < needed {
            let entry = self.entry;
            self.problems
                .insert(format!("{entry}: {what} that not every lane reaches"));
        }
    }
}

/// Whether a block has a barrier of the workgroup itself, whatever it calls.
fn has_barrier(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::ControlBarrier(barrier) => *barrier != Barrier::SUB_GROUP,
        Statement::WorkGroupUniformLoad { .. } => true,
        Statement::Block(block) => has_barrier(block),
        Statement::If { accept, reject, .. } => has_barrier(accept) || has_barrier(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| has_barrier(&case.body)),
        Statement::Loop {
            body, continuing, ..
        } => has_barrier(body) || has_barrier(continuing),
        _ => false,
    })
}

fn fall<K: std::hash::Hash + Eq>(levels: &mut HashMap<K, Same>, key: K, to: Same) {
    let level = levels.entry(key).or_insert(Same::Workgroup);
    *level = to.min(*level);
}
