package plan

// Severity is how much a Finding stands in the way.
type Severity string

const (
	// Blocks: no session comes about as it was asked for.
	Blocks Severity = "blocks"
	// Warns: one does, and something may not be as somebody expects.
	Warns Severity = "warns"
	// Notes: worth knowing.
	Notes Severity = "notes"
)

// Finding is one thing that a check has found. Its JSON is documented in
// docs/plan.md, which has every code.
type Finding struct {
	// Code is what was found, for programs. It never changes its meaning.
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Says is a sentence without a full stop.
	Says string `json:"says"`
	// Do is what to do about it; empty where there is nothing to be done.
	Do string `json:"do,omitempty"`
}

// Code names a kind of finding.
type Code string

// The codes, in the order in which findings are shown.
const (
	NoStage            Code = "NoStage"
	NoCommand          Code = "NoCommand"
	NotInstalled       Code = "NotInstalled"
	OperatorIdle       Code = "OperatorIdle"
	MissingRight       Code = "MissingRight"
	SessionRefused     Code = "SessionRefused"
	Held               Code = "Held"
	Beside             Code = "Beside"
	ClaimLeft          Code = "ClaimLeft"
	KindNotHeld        Code = "KindNotHeld"
	KindNotListed      Code = "KindNotListed"
	HoldRefused        Code = "HoldRefused"
	RestartNeeded      Code = "RestartNeeded"
	RolloutInProgress  Code = "RolloutInProgress"
	RolloutPaused      Code = "RolloutPaused"
	StandInImpossible  Code = "StandInImpossible"
	AdmissionDenied    Code = "AdmissionDenied"
	AdmissionUntried   Code = "AdmissionUntried"
	HoldDenied         Code = "HoldDenied"
	HoldUntried        Code = "HoldUntried"
	QuotaExceeded      Code = "QuotaExceeded"
	LimitRange         Code = "LimitRange"
	PodSecurity        Code = "PodSecurity"
	NoNode             Code = "NoNode"
	NotSideBySide      Code = "NotSideBySide"
	StandInDiffers     Code = "StandInDiffers"
	DisruptionBudget   Code = "DisruptionBudget"
	Autoscaler         Code = "Autoscaler"
	GitOps             Code = "GitOps"
	FreezeRefused      Code = "FreezeRefused"
	FreezeDiffers      Code = "FreezeDiffers"
	ProbesAnswered     Code = "ProbesAnswered"
	OtherContainers    Code = "OtherContainers"
	SharedService      Code = "SharedService"
	MayReadTheSame     Code = "MayReadTheSame"
	AlreadyAtZero      Code = "AlreadyAtZero"
	GracePeriod        Code = "GracePeriod"
	PortForwardGranted Code = "PortForwardGranted"
)

// Codes are all of them.
var Codes = []Code{
	NoStage, NoCommand, NotInstalled, OperatorIdle, MissingRight, SessionRefused, Held, Beside, ClaimLeft, KindNotHeld, KindNotListed, HoldRefused, RestartNeeded,
	RolloutInProgress, RolloutPaused, StandInImpossible, AdmissionDenied, AdmissionUntried, HoldDenied, HoldUntried, QuotaExceeded, LimitRange, PodSecurity,
	NoNode, NotSideBySide, StandInDiffers, DisruptionBudget, Autoscaler, GitOps, FreezeRefused, FreezeDiffers,
	ProbesAnswered, OtherContainers, SharedService, MayReadTheSame, AlreadyAtZero, GracePeriod, PortForwardGranted,
}
