/**
  * Names of properties and methods that the build makes shorter in the scripts of browsers: none that a message of a port,
  * a stored row, an application or the platform knows. `e2e/built/inner-names.test.ts` fails for one that they do; such a
  * name is taken out here, or the property gets another one.
  */
export const INNER_NAMES = `
  abandon acknowledge addLate aged answerBody answerType answered attachAgain authority batcher behind books
  caps chosen clientSignature clientTag clock copies deliver demand denied depart deriveSecret describe down
  dropAll dropped earlyBytes environment ephemeral equal expiresInMs exporter fail failLater failed fields
  findHost fromPlatform generate generateEphemeral generation give gone greet handshake handshakeTimeoutMs
  hasArgs hasLostSession hasRoom heard heartbeat holdLock identify intent isAlone isAside isDone isEmpty isFull
  isLeaving isOfAnother isSettled isStored joinBytes kept keyID keyStore keyring linked listen mac
  macKey madeBecause maxBytes maxCount maxEarlyBytes maxFrameBytes maxFromClientBytes maxHandshakeBytes
  maxLinkMs maxTabs maxUnackedBytes maxUnackedCount minimumMs more nextLink nextPublicKey normal nowMs
  numberOf offered openSocket otherServerKey parts pingMs pongTimeoutMs post prepareNext probe proof prove
  queueLimits randomBytes reader receive receiveAnswer receiveHello receiveOk refusal refusals rejectAll
  renewID renewal renewed rest retire schedule sealKey sendEncoded serverKey
  serverTimeMs setAsideToTry settle sha256 shown signingKey sinceMs standDown standing
  subprotocol tabOf tagBytes tell th1 th3 tickFrameBytes tooLarge unlinked wants wasUp watchLock
  welcomed writer
  forget forgotten hide leave lost setActive takeNotes wake
`
  .trim()
  .split(/\s+/);
