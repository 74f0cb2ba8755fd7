import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** All that browsers run of ours. */
const PROGRAM = [
  'client/index.ts',
  'client/script-tag/script-tag.ts',
  'client/leader-tab/leader-tab.ts',
  'worker/shared-worker/shared-worker.ts',
  'worker/host/later.ts',
  'worker/build.d.ts',
];

/** Whatever is exported here is known elsewhere: to applications, to tabs and hosts of other builds, to a key store. */
const OUTER_MODULES = [
  'worker/host/port-protocol.ts',
  'worker/host/identity-records.ts',
  'worker/host/queue/queue-records.ts',
  'client/index.ts',
  'client/script-tag/script-tag.ts',
  'client/leader-tab/leader-tab.ts',
  'client/leader-tab/assembly.ts',
];

/** Files that are loaded at run time: only the names of what they export are known to others. */
const LOADED_MODULES = ['worker/host/later.ts', 'client/leader-tab/leader-tab.ts'];

/** Of the constructor of a client, and not for applications. */
const INNER_PARAMETER = 'environment';

export interface PropertyNames {
  /** Names of properties and methods that our code declares. */
  declared: Set<string>;
  /** Names that something else than the scripts themselves may know, and how. */
  outer: Map<string, string>;
}

/**
 * Goes through the code of browsers and finds the names of properties that must stay what they are: those of the
 * platform, of all that the modules above export, of what is handed to the platform as `any`, of what is taken for a type
 * that was unknown before, and of what is looked up by a name that is a value.
 */
export function findPropertyNames(): PropertyNames {
  const program = ts.createProgram(
    PROGRAM.map((file) => path.join(ROOT, file)),
    {
      strict: true,
      noEmit: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      allowImportingTsExtensions: true,
      lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
      types: [],
    },
  );
  const checker = program.getTypeChecker();
  const declared = new Set<string>();
  const outer = new Map<string, string>();
  const reached = new Set<ts.Type>();

  const mark = (name: string, how: string): void => {
    if (!outer.has(name)) outer.set(name, how);
  };

  /** Those that our code declares, but for private ones. */
  const ownProperties = (type: ts.Type): ts.Symbol[] =>
    checker
      .getPropertiesOfType(type)
      .filter(
        (property) => !property.name.startsWith('#') && (!isDeclared(property) || !isPlatforms(property)),
      );

  const markProperties = (type: ts.Type, how: string): void => {
    for (const { name } of ownProperties(type)) mark(name, `${how}.${name}`);
  };

  /** Marks the properties of a type, and of all types that can be reached from it. */
  const reach = (type: ts.Type, how: string): void => {
    if (reached.has(type)) return;
    reached.add(type);
    if (type.isUnionOrIntersection()) for (const part of type.types) reach(part, how);
    if ((type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection)) === 0) return;
    if (((type as ts.ObjectType).objectFlags & ts.ObjectFlags.Reference) !== 0) {
      for (const part of checker.getTypeArguments(type as ts.TypeReference)) reach(part, how);
    }
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      reach(signature.getReturnType(), how);
      for (const parameter of signature.parameters) {
        if (parameter.name !== INNER_PARAMETER) reach(checker.getTypeOfSymbol(parameter), how);
      }
    }
    markProperties(type, how);
    for (const property of ownProperties(type)) {
      reach(checker.getTypeOfSymbol(property), `${how}.${property.name}`);
    }
  };

  const exportsOf = (file: string): ts.Symbol[] => {
    const source = program.getSourceFile(path.join(ROOT, file));
    const symbol = source && checker.getSymbolAtLocation(source);
    return symbol === undefined ? [] : checker.getExportsOfModule(symbol);
  };

  for (const file of LOADED_MODULES) for (const { name } of exportsOf(file)) mark(name, file);
  for (const file of OUTER_MODULES) {
    for (const exported of exportsOf(file)) {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
      const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported;
      const how = `${file}: ${exported.name}`;
      if ((symbol.flags & ts.SymbolFlags.Type) !== 0) reach(checker.getDeclaredTypeOfSymbol(symbol), how);
      if ((symbol.flags & ts.SymbolFlags.Value) !== 0) reach(checker.getTypeOfSymbol(symbol), how);
    }
  }

  for (const file of program.getSourceFiles()) {
    const ofPlatform = isOfPlatform(file);
    const visit = (node: ts.Node): void => {
      const name = declaredName(node);
      if (name !== undefined && ofPlatform) mark(name, 'the platform');
      else if (name !== undefined) declared.add(name);
      if (!ofPlatform) visitOwn(node);
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return { declared, outer };

  function visitOwn(node: ts.Node): void {
    if (ts.isElementAccessExpression(node)) markKeys(node);
    else if (ts.isObjectLiteralExpression(node)) markLoose(node);
    else if (ts.isCallExpression(node) || ts.isNewExpression(node)) markHandedOver(node);
    else if (ts.isAsExpression(node) && isLoose(checker.getTypeAtLocation(node.expression))) {
      reach(checker.getTypeAtLocation(node), placeOf(node));
    }
  }

  /** What is looked up by a value keeps its name. */
  function markKeys(node: ts.ElementAccessExpression): void {
    const how = placeOf(node);
    const type = checker.getTypeAtLocation(node.argumentExpression);
    for (const one of partsOf(type)) if (one.isStringLiteral()) mark(one.value, how);
    if ((type.flags & ts.TypeFlags.NumberLike) === 0)
      markProperties(checker.getTypeAtLocation(node.expression), how);
  }

  /** An object whose properties are no declared ones is a table. */
  function markLoose(node: ts.ObjectLiteralExpression): void {
    const type = checker.getContextualType(node);
    if (type === undefined) return;
    const isTable = partsOf(type).some(
      (one) =>
        isLoose(one) ||
        checker.getIndexInfoOfType(one, ts.IndexKind.String) !== undefined ||
        one.getProperties().some((property) => !isDeclared(property)),
    );
    if (isTable) markProperties(checker.getTypeAtLocation(node), placeOf(node));
  }

  /** What the platform takes as `any` leaves us, and its own options have its names. */
  function markHandedOver(node: ts.CallExpression | ts.NewExpression): void {
    const signature = checker.getResolvedSignature(node);
    if (signature?.declaration === undefined || !isOfPlatform(signature.declaration)) return;
    const how = placeOf(node);
    for (const [i, parameter] of signature.parameters.entries()) {
      const argument = node.arguments?.[i];
      if (argument === undefined) continue;
      if (ts.isStringLiteral(argument) && parameter.name === 'v') mark(argument.text, how);
      const wanted = checker.getTypeOfSymbolAtLocation(parameter, node);
      const given = checker.getTypeAtLocation(argument);
      if (isLoose(wanted)) reach(given, how);
      else if (partsOf(wanted).some(({ symbol }) => isPlatforms(symbol))) markProperties(given, how);
    }
  }
}

function isOfPlatform(node: ts.Node): boolean {
  return node.getSourceFile().isDeclarationFile;
}

function placeOf(node: ts.Node): string {
  const { fileName } = node.getSourceFile();
  return `${path.relative(ROOT, fileName)}: ${node.getText().slice(0, 60)}`;
}

function partsOf(type: ts.Type): ts.Type[] {
  return type.isUnion() ? type.types : [type];
}

/** Properties of a `Record` of names are not. */
function isDeclared({ declarations = [] }: ts.Symbol): boolean {
  return declarations.length > 0;
}

function isPlatforms(symbol: ts.Symbol | undefined): boolean {
  return symbol?.declarations?.every(isOfPlatform) ?? false;
}

/** `any`, `unknown` or `object`. */
function isLoose({ flags }: ts.Type): boolean {
  return (flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown | ts.TypeFlags.NonPrimitive)) !== 0;
}

/** @returns The name of a property or method that stands there. */
function declaredName(node: ts.Node): string | undefined {
  const isProperty =
    ts.isPropertySignature(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertyAssignment(node) ||
    ts.isShorthandPropertyAssignment(node) ||
    ts.isMethodSignature(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isAccessor(node);
  return isProperty && (ts.isIdentifier(node.name) || ts.isStringLiteral(node.name))
    ? node.name.text
    : undefined;
}
