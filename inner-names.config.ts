/**
 * Names of properties and methods that the build makes shorter in the scripts of browsers: none that a message of a port,
 * a stored row, an application or the platform knows. `e2e/built/inner-names.test.ts` fails for one that they do; such a
 * name is taken out here, or the property gets another one.
 */
export const INNER_NAMES = `
  abandon acknowledge activeAt activeInMemory activeLinks addLate adopt aged answerBody answered answerType
  attachAgain authority batcher behind books canServe caps chosen claim clientSignature clientTag clock
  confirmed copies deliver demand denied denyPinned depart departures deriveSecret describe dismiss down
  dropAll dropped earlyBytes environment ephemeral equal expiresInMs exporter failed failLater fields
  findHost forget forgetInMemory forgotten fromPlatform generate generateEphemeral generation give gone
  greet handshake handshakeTimeoutMs hasArgs hasLostRecord hasLostSession hasRoom heard heartbeat heir hide
  holdLock identify identityLinks idle idleTimeoutMs inMemory intent isAlone isAside isDone isEmpty isFresh
  isFull isHere isLeaving isNamed isOf isOfAnother isOpen isSettled isStored joinBytes kept keyID keyring
  keyStore leave limits linked linkGraceMs linkOf linksAt listen loadLater lookAgain lost mac macKey madeBecause
  maxBytes maxCount maxEarlyBytes maxFrameBytes maxFromClientBytes maxHandshakeBytes maxLinkMs maxQueued
  maxTabs maxUnackedBytes maxUnackedCount mergeInto minimumMs more nextLink nextPublicKey normal note nowMs
  numberOf offered opened openSocket otherServerKey owner ownerOf parts pingMs pongTimeoutMs post probe
  proof prove queueLimits randomBytes reader receive receiveAnswer receiveHello receiveOk records refusal
  refusals rejectAll renewal renewID renewTimeoutMs rest retire schedule sealKey sendElsewhere
  sendEncoded sendStrangers served serverKey serverTimeMs setActive setAsideToTry settle sha256 shown
  signingKey sinceMs speaksFor standDown standing subprotocol switchFollowers tabOf tagBytes
  take takeNotes tell tellChange th1 th3 tickFrameBytes tooLarge unlinked visit wake wants wasUp
  watchLock welcomed wish writer
`
  .trim()
  .split(/\s+/);
