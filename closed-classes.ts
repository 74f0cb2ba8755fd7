import { walk } from 'estree-walker';
import MagicString, { type SourceMap } from 'magic-string';
import { parseAst } from 'vite';
import type { Class, MethodDefinition, Node, PrivateIdentifier, PropertyDefinition } from 'estree';

/** What a parser gives with places in the text. */
type Placed<T = Node> = T & { start: number; end: number };
type Member = Placed<MethodDefinition | PropertyDefinition>;

/**
 * Writes classes as functions with closures, which is much shorter once it is minified: private fields and methods become
 * variables and functions, which get names of one letter, are inlined, and need no `this`.
 *
 * ```js
 * class Count { #n = 0; add() { return ++this.#n; } }
 * function Count() { let n = 0; const self = { add() { return ++n; } }; return self; }
 * ```
 *
 * What is only made in this file is called without `new`. What others see keeps its prototype, so that `instanceof` holds;
 * its methods are its own, so that who extends it cannot replace them. Left as they are: classes that extend another or
 * have static members.
 *
 * @param code A module or script that is not minified. Private fields must not need public ones when they are made.
 * @throws {TypeError} for what cannot be written so: a private name of another object, a private setter, a private name in
 * a function with a `this` of its own, a constructor that returns something else or hides a name that a member needs.
 */
export function closeClasses(code: string): { code: string; map: SourceMap } {
  const out = new MagicString(code);
  const found: { name: string; node: Placed<Class> }[] = [];
  const mentions = new Map<string, number>();
  const uses = new Map<string, Placed[]>();
  walk(parseAst(code) as Node, {
    enter(node, parent) {
      if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
        const name = nameOf(node, parent);
        if (name !== undefined && canBeClosed(node)) found.push({ name, node: node as Placed<Class> });
      }
      if (node.type === 'Identifier') mentions.set(node.name, (mentions.get(node.name) ?? 0) + 1);
      if (node.type === 'NewExpression' && node.callee.type === 'Identifier') {
        const { name } = node.callee;
        uses.set(name, [...(uses.get(name) ?? []), node as Placed]);
      }
    },
  });
  for (const [index, { name, node }] of found.entries()) {
    const made = uses.get(name) ?? [];
    // The one more is the declaration.
    const isInner = mentions.get(name) === made.length + 1;
    if (isInner) for (const { start } of made) out.remove(start, start + 'new '.length);
    new ClosedClass(out, node, index).write(isInner);
  }
  return { code: out.toString(), map: out.generateMap({ hires: true }) };
}

/** A class that becomes a function where it stands. Its parts are moved there, so that the source map knows them. */
class ClosedClass {
  readonly #out: MagicString;
  readonly #node: Placed<Class>;
  readonly #index: number;
  readonly #self: string;
  readonly #members: Member[];
  readonly #getters: ReadonlySet<string>;

  /** @param index Of this class in the file: names of different ones must not meet. */
  constructor(out: MagicString, node: Placed<Class>, index: number) {
    this.#out = out;
    this.#node = node;
    this.#index = index;
    this.#self = `self_${index}`;
    this.#members = node.body.body as Member[];
    this.#getters = new Set(
      this.#members.flatMap((one) =>
        isMethod(one) && one.kind === 'get' ? (privateName(one.key) ?? []) : [],
      ),
    );
  }

  /** @param isInner Nobody sees it but this file, which does not say `new` to it any more. */
  write(isInner: boolean): void {
    const { start, id } = this.#node;
    const body = this.#node.body as Placed<Class['body']>;
    const out = this.#out;
    out.overwrite(start, body.start, `function ${id?.name ?? ''}(`);
    const prototype = isInner ? '' : '__proto__: new.target.prototype,';
    out.overwrite(body.start, body.start + 1, ') {');

    const isConstructor = (one: Member): boolean => isMethod(one) && one.kind === 'constructor';
    const isHidden = (one: Member): boolean => privateName(one.key) !== undefined;
    for (const member of this.#members) this.#rename(member);
    for (const member of this.#members) if (!isHidden(member) && !isConstructor(member)) this.#show(member);
    const first = this.#members[0]!.start;
    out.overwrite(body.start + 1, first, `const ${this.#self} = {${prototype}`);
    const constructor = this.#members.find(isConstructor);
    if (constructor) this.#expectOneMeaning(constructor);
    const made = constructor ? this.#declareFields(constructor) : new Set();
    for (const member of this.#members) {
      if (!isHidden(member)) continue;
      if (made.has(privateName(member.key))) out.remove(member.start, member.end);
      else {
        this.#hide(member);
        out.move(member.start, member.end, body.start + 1);
      }
    }
    const hasBegun = constructor !== undefined && this.#begin(constructor, body);
    out.overwrite(body.end - 1, body.end, `${hasBegun ? '' : '};'} return ${this.#self}; }`);
  }

  /** A public member stays where it is. */
  #show(member: Member): void {
    const out = this.#out;
    if (isMethod(member)) {
      out.appendLeft(member.end, ',');
      return;
    }
    const key = member.key as Placed;
    const value = member.value as Placed | null;
    if (member.computed) throw new TypeError('a field with a computed name');
    if (value === null) out.overwrite(key.end, member.end, ': void 0,');
    else {
      out.overwrite(key.end, value.start, ': ');
      out.overwrite(value.end, member.end, ',');
    }
  }

  #hide(member: Member): void {
    const key = member.key as Placed<PrivateIdentifier>;
    const variable = this.#variable(key.name);
    if (!isMethod(member)) this.#out.overwrite(member.start, key.end, `let ${variable}`);
    else if (member.kind === 'set') throw new TypeError(`#${key.name} is a private setter`);
    else {
      const { async, generator } = member.value;
      const how = `${async ? 'async ' : ''}function${generator ? '*' : ''}`;
      this.#out.overwrite(member.start, key.end, `${how} ${variable}`);
    }
  }

  /** The constructor becomes parameters and end of the function. @returns Whether there is anything in it. */
  #begin(member: Member, classBody: Placed): boolean {
    const { params, body } = member.value as unknown as { params: Placed[]; body: Placed };
    const out = this.#out;
    const [first] = params;
    const last = params.at(-1);
    if (first && last) {
      out.remove(member.start, first.start);
      out.move(first.start, last.end, classBody.start);
    }
    out.remove(last ? last.end : member.start, body.start + 1);
    out.remove(body.end - 1, member.end);
    if (body.end - body.start <= 2) return false;
    this.#returnSelf(body);
    out.prependRight(body.start + 1, '};');
    out.move(body.start + 1, body.end - 1, classBody.end - 1);
    return true;
  }

  /** Declares fields without a value where the constructor gives them one: undefined before, as ever. @returns Their names. */
  #declareFields(constructor: Member): Set<string> {
    const bare = new Set(
      this.#members.flatMap((one) => (isMethod(one) || one.value ? [] : (privateName(one.key) ?? []))),
    );
    const made = new Set<string>();
    for (const statement of (constructor.value as MethodDefinition['value']).body.body) {
      if (statement.type !== 'ExpressionStatement' || statement.expression.type !== 'AssignmentExpression')
        continue;
      const { left, operator } = statement.expression;
      if (operator !== '=' || left.type !== 'MemberExpression') continue;
      const name = privateName(left.property);
      if (name === undefined || !bare.has(name) || made.has(name)) continue;
      this.#out.prependRight((statement as Placed).start, 'var ');
      made.add(name);
    }
    return made;
  }

  /** What the constructor declares is seen by all members now: none of them may mean something else by it. */
  #expectOneMeaning(constructor: Member): void {
    const declared = namesDeclaredIn(constructor, false);
    for (const member of this.#members) {
      if (member === constructor) continue;
      const own = namesDeclaredIn(member, true);
      for (const name of namesMeantIn(member)) {
        if (declared.has(name) && !own.has(name))
          throw new TypeError(`'${name}' of a constructor hides another`);
      }
    }
  }

  #returnSelf(body: Node): void {
    const out = this.#out;
    const self = this.#self;
    walk(body, {
      enter(node) {
        if (/Function/.test(node.type)) this.skip();
        if (node.type !== 'ReturnStatement') return;
        if (node.argument) throw new TypeError('a constructor that returns something');
        const { start, end } = node as Placed;
        out.overwrite(start, end, `return ${self};`);
      },
    });
  }

  /** Private names become variables, and `this` becomes what the function returns. */
  #rename(member: Member): void {
    const own = member.value;
    const out = this.#out;
    const self = this.#self;
    const variableOf = (node: Node): string | undefined => this.#variableOf(node);
    walk(member, {
      enter(node) {
        const hasOwnThis = node.type === 'FunctionExpression' || node.type === 'FunctionDeclaration';
        if (hasOwnThis && node !== own) {
          expectNoPrivate(node);
          this.skip();
          return;
        }
        const { start, end } = node as Placed;
        const variable = variableOf(node) ?? (node.type === 'ThisExpression' ? self : undefined);
        if (variable === undefined) return;
        out.overwrite(start, end, variable);
        this.skip();
      },
    });
  }

  /** @returns What stands for `this.#name`; `undefined` for any other node. */
  #variableOf(node: Node): string | undefined {
    if (node.type !== 'MemberExpression' || node.property.type !== 'PrivateIdentifier') return undefined;
    const { name } = node.property;
    if (node.object.type !== 'ThisExpression') throw new TypeError(`#${name} of another object`);
    return this.#variable(name) + (this.#getters.has(name) ? '()' : '');
  }

  #variable(name: string): string {
    return `__${name}_${this.#index}`;
  }
}

function nameOf(node: Class, parent: Node | null): string | undefined {
  if (node.id) return node.id.name;
  return parent?.type === 'VariableDeclarator' && parent.id.type === 'Identifier'
    ? parent.id.name
    : undefined;
}

function canBeClosed({ superClass, body }: Class): boolean {
  return !superClass && body.body.every((member) => 'static' in member && !member.static);
}

function isMethod(member: Member): member is Placed<MethodDefinition> {
  return member.type === 'MethodDefinition';
}

function privateName(key: Node | PrivateIdentifier): string | undefined {
  return key.type === 'PrivateIdentifier' ? key.name : undefined;
}

/** @param isDeep Also what functions in it declare for themselves. */
function namesDeclaredIn(member: Member, isDeep: boolean): Set<string> {
  const names = new Set<string>();
  const add = (pattern: Node | null): void => {
    if (pattern?.type === 'Identifier') names.add(pattern.name);
    else if (pattern?.type === 'AssignmentPattern') add(pattern.left);
    else if (pattern?.type === 'RestElement') add(pattern.argument);
    else if (pattern?.type === 'ArrayPattern') pattern.elements.forEach(add);
    else if (pattern?.type === 'ObjectPattern')
      for (const one of pattern.properties) add(one.type === 'Property' ? one.value : one);
  };
  walk(member, {
    enter(node) {
      if (node.type === 'VariableDeclarator') add(node.id);
      else if (node.type === 'CatchClause') add(node.param ?? null);
      else if ('params' in node) {
        if (node.type === 'FunctionDeclaration') add(node.id);
        if (isDeep || node === member.value) node.params.forEach(add);
        else this.skip();
      }
    },
  });
  return names;
}

/** Names that stand there for a variable. */
function namesMeantIn(member: Member): Set<string> {
  const names = new Set<string>();
  walk(member, {
    enter(node, parent, place) {
      if (node.type !== 'Identifier') return;
      const isName = place === 'property' || place === 'key';
      if (!(isName && parent && 'computed' in parent && !parent.computed)) names.add(node.name);
    },
  });
  return names;
}

function expectNoPrivate(node: Node): void {
  walk(node, {
    enter({ type }) {
      if (type === 'PrivateIdentifier')
        throw new TypeError('a private name in a function with a this of its own');
    },
  });
}
