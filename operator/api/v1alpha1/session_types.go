package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Takeover says how the target is kept from consuming while a session runs.
// +kubebuilder:validation:Enum=Copy;ScaleDown;Freeze;None
type Takeover string

const (
	// TakeoverCopy makes a stand-in and leaves the target as it is.
	TakeoverCopy Takeover = "Copy"
	// TakeoverScaleDown makes a stand-in and holds the target at zero replicas.
	TakeoverScaleDown Takeover = "ScaleDown"
	// TakeoverFreeze freezes the target container where it stands, by an agent
	// on its node. The target is the pod.
	TakeoverFreeze Takeover = "Freeze"
	// TakeoverNone takes nothing over. Where the target is a pod an agent on its
	// node attaches to it, which goes on running. Without a target the agent runs in
	// an empty pod, and its owner has the network and the names of the namespace.
	TakeoverNone Takeover = "None"
)

// Defaults and bounds of the durations in a SessionSpec.
const (
	DefaultLeaseDuration = 60 * time.Second
	MinLeaseDuration     = 5 * time.Second
	MaxLeaseDuration     = time.Hour
	DefaultSetupDuration = 2 * time.Minute
)

// Session is one developer's run of a local process in the place of a remote
// workload. Its spec never changes; what became of it is in its conditions.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=sessions,singular=session,shortName=us,categories=understudy
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.standIns,statuspath=.status.standIns,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.target.name`
// +kubebuilder:printcolumn:name="Takeover",type=string,JSONPath=`.spec.takeover`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner.username`
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.owner.hostname`,priority=1
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.record.replicas`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="a session's name has at most 52 characters, so that the names of its pods fit"
type Session struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SessionSpec   `json:"spec"`
	Status SessionStatus `json:"status,omitempty"`
}

// SessionList is a list of Sessions.
// +kubebuilder:object:root=true
type SessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Session `json:"items"`
}

// SessionSpec is what the developer asked for. It is immutable as a whole.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a session's spec cannot be changed: end the session and start another"
// +kubebuilder:validation:XValidation:rule="self.takeover != 'Freeze' || !has(self.target) || (self.target.resource == 'pods' && (!has(self.target.group) || size(self.target.group) == 0))",message="only a pod can be frozen: name the pod as the target"
// +kubebuilder:validation:XValidation:rule="has(self.target) || self.takeover == 'None'",message="every takeover but None needs a target"
// +kubebuilder:validation:XValidation:rule="self.takeover != 'None' || !has(self.target) || (self.target.resource == 'pods' && (!has(self.target.group) || size(self.target.group) == 0))",message="only a pod can be attached to: name the pod as the target"
// +kubebuilder:validation:XValidation:rule="!has(self.wait) || !self.wait || self.takeover == 'ScaleDown'",message="only a target that is scaled down is waited for"
// +kubebuilder:validation:XValidation:rule="!has(self.agent) || !has(self.target) || !(has(self.agent.labels) || has(self.agent.annotations) || has(self.agent.nodeSelector) || has(self.agent.tolerations) || has(self.agent.priorityClassName))",message="of an agent with a target only the resources can be asked for: a stand-in has its target's labels and place, and an agent on a node is where its target is"
type SessionSpec struct {
	// Target is the object that will really be held, as the command line tool
	// resolved it; none in a session without a target.
	// +optional
	Target Target `json:"target,omitzero"`

	// Takeover says how the target is kept from consuming.
	Takeover Takeover `json:"takeover"`

	// Owner is who runs the session. Admission lets it through only if the
	// username is the caller's own.
	Owner Owner `json:"owner"`

	// ClientKey is the public key that the owner's end of the tunnel proves to
	// have: PKIX, ASN.1 DER, in base64. The agent accepts no other.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=344
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]+={0,2}$`
	ClientKey string `json:"clientKey"`

	// LeaseDurationSeconds is how long the session lives on without a renewal
	// of its Lease, in seconds.
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=3600
	// +optional
	LeaseDurationSeconds int32 `json:"leaseDurationSeconds,omitempty"`

	// SetupDeadlineSeconds is how long it may take to become Ready, in
	// seconds. Once the target is held it is counted from the hold, and the
	// longest grace period of the old pods is added. After it everything is
	// rolled back.
	// +kubebuilder:default=120
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=3600
	// +optional
	SetupDeadlineSeconds int32 `json:"setupDeadlineSeconds,omitempty"`

	// MaxDurationSeconds ends the session that many seconds after its creation,
	// or after its turn came where it waited, whoever still renews it; 0 is no
	// limit.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	// +optional
	MaxDurationSeconds int32 `json:"maxDurationSeconds,omitempty"`

	// ShareTraffic makes the stand-in of a copy without scale-down ready, so
	// that it takes its share of the Services' traffic.
	// +optional
	ShareTraffic bool `json:"shareTraffic,omitempty"`

	// ReleaseConnections has the connections of a frozen container cut, so that
	// a broker gives to others what it had delivered to it; true unless said
	// otherwise.
	// +kubebuilder:default=true
	// +optional
	ReleaseConnections *bool `json:"releaseConnections,omitempty"`

	// RestartOK lets a target be held whose pods lose what they have done so far:
	// a Job, which is suspended.
	// +optional
	RestartOK bool `json:"restartOK,omitempty"`

	// Wait has the session queue behind whoever holds the target, in the order of
	// creation, instead of ending because of them.
	// +optional
	Wait bool `json:"wait,omitempty"`

	// ExcludeContainers are the containers of the target that the stand-in
	// goes without; "*" is every one but the target container.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	ExcludeContainers []string `json:"excludeContainers,omitempty"`

	// ExcludeInitContainers are the init containers that the stand-in goes
	// without; "*" is every one. Native sidecars count as containers.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	ExcludeInitContainers []string `json:"excludeInitContainers,omitempty"`

	// ListenPorts are ports that may be opened on the stand-in beside those
	// that the container declares, its probes use or a Service targets.
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	// +listType=set
	// +optional
	ListenPorts []int32 `json:"listenPorts,omitempty"`

	// ListenAll lets every port be opened.
	// +optional
	ListenAll bool `json:"listenAll,omitempty"`

	// Agent is what the owner asks of the pod that the agent is in. What is more than
	// resources is for who may make pods in the namespace.
	// +optional
	Agent AgentPod `json:"agent,omitzero"`

	// StandIns is always 1. It is here for the scale subresource, which the
	// disruption controller reads.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1
	// +optional
	StandIns int32 `json:"standIns,omitempty"`
}

// Targetless says whether the session stands in for nothing.
func (s *SessionSpec) Targetless() bool { return s.Takeover == TakeoverNone && s.Target == (Target{}) }

// Attaches says whether the session attaches to a pod that goes on running.
func (s *SessionSpec) Attaches() bool { return s.Takeover == TakeoverNone && !s.Targetless() }

// Target names one object and one container of its pods.
type Target struct {
	// Group is the API group; empty for the core group.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Group string `json:"group"`
	// Resource is the lower-case plural, as in "deployments".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Resource string `json:"resource"`
	// Name of the object, in the Session's own namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// UID of the object when the session was asked for. An object of the same
	// name and another UID is not the one that was meant.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	UID types.UID `json:"uid"`
	// Container is the container whose place is taken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Container string `json:"container"`
}

// Names compares by kind and name, not by UID: a workload that was made anew under its
// session is held by that session still. The two are of one namespace.
func (t Target) Names(other Target) bool {
	return t.Group == other.Group && t.Resource == other.Resource && t.Name == other.Name
}

// Owner is who runs a session, and where.
type Owner struct {
	// Username as the API server knows it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Username string `json:"username"`
	// Hostname of the developer's machine, for other people to read.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Hostname string `json:"hostname,omitempty"`
}

// SessionStatus is what the operator did and saw.
type SessionStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are the state of the session: see the condition types.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Queue is the session's place while it waits for the target; nothing was
	// done to that yet.
	// +optional
	Queue *Queue `json:"queue,omitempty"`

	// TurnAt is when the session that had waited was the next.
	// +optional
	TurnAt *metav1.MicroTime `json:"turnAt,omitempty"`

	// Record is what the workload was before the session touched it. It is
	// written, and acknowledged, before anything is done to the workload.
	// +optional
	Record *Record `json:"record,omitempty"`

	// Frozen is what a session that freezes may have frozen, or the pod of one that
	// attaches. It is written, and
	// acknowledged, before there is an agent on the target's node.
	// +optional
	Frozen *FrozenPod `json:"frozen,omitempty"`

	// Agent is where the owner's end of the tunnel finds the agent.
	// +optional
	Agent *Agent `json:"agent,omitempty"`

	// HeldAt is when the workload was brought to zero; the setup deadline
	// counts from here.
	// +optional
	HeldAt *metav1.MicroTime `json:"heldAt,omitempty"`

	// OldPods are the pods of the workload that had not been proved ended when
	// last looked at. They are noted before the hold, so that one that vanishes
	// without a trace is still asked for.
	// +listType=atomic
	// +optional
	OldPods []OldPod `json:"oldPods,omitempty"`

	// ReadyAt is when the session became Ready for the first time.
	// +optional
	ReadyAt *metav1.MicroTime `json:"readyAt,omitempty"`

	// Silence is what the operator has seen of the Lease's renewals.
	// +optional
	Silence *Silence `json:"silence,omitempty"`

	// StandIns is how many stand-in pods run: 0 or 1.
	// +optional
	StandIns int32 `json:"standIns,omitempty"`

	// Selector selects the stand-in pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
}

// Queue is where a session waits, and for whom.
type Queue struct {
	// Place counts from 1: the next.
	Place int32 `json:"place"`
	// Holder is the username of who holds the target, or is on the way to it.
	Holder string `json:"holder"`
	// Session of the holder, in the same namespace.
	Session string `json:"session"`
	// Since is when the holder's session began, in RFC 3339.
	Since string `json:"since"`
}

// Record is the memory of one workload, enough to put it back.
type Record struct {
	// UID of the workload that was recorded.
	UID types.UID `json:"uid"`
	// Replicas to put back; 1 or 0 of a kind that is suspended instead of being
	// scaled. Somebody's new number during the session takes
	// the place of the first one.
	// +kubebuilder:validation:Minimum=0
	Replicas int32 `json:"replicas"`
	// ReplicaOwners are the entries of metadata.managedFields that owned the
	// replica count, to be given back with the number.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	ReplicaOwners []FieldOwner `json:"replicaOwners,omitempty"`
	// Autoscalers that were stopped before the workload was held, and are started
	// after it was put back.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Autoscalers []Autoscaler `json:"autoscalers,omitempty"`
	// Applications of Argo CD whose automated sync is off while the workload is
	// held.
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	// +optional
	Applications []Application `json:"applications,omitempty"`
	// Marks are the keys of the labels that keep Flux from the workload for the
	// time: it had none of them before.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Marks []string `json:"marks,omitempty"`
	// ChangedBy is the field manager that last changed the number during the
	// session; empty when the number is the one from before it.
	// +optional
	ChangedBy string `json:"changedBy,omitempty"`
	// Returned says that the number was put back: what it is since is somebody's.
	// +optional
	Returned bool `json:"returned,omitempty"`
}

// FrozenPod is the memory of one frozen container, enough to thaw it, or of one
// that is attached to, enough to let go of it.
type FrozenPod struct {
	// UID of the pod.
	UID types.UID `json:"uid"`
	// NodeName is where the pod runs.
	NodeName string `json:"nodeName"`
	// ContainerID is the container as it ran when it was recorded, as in the
	// pod's status: "containerd://...".
	// +optional
	ContainerID string `json:"containerID,omitempty"`
	// OnlyOf is the workload whose only pod it was when it was recorded, and has to
	// remain: another one would take what the frozen one does not. Empty for a pod
	// of nobody's, for one that had others beside it then, and for one that is
	// attached to.
	// +optional
	OnlyOf *WorkloadReference `json:"onlyOf,omitempty"`
	// FrozenAt is when the kernel was first known to have confirmed it, or the agent
	// to be attached.
	// +optional
	FrozenAt *metav1.MicroTime `json:"frozenAt,omitempty"`
	// Thawed is what proved that nothing is frozen any more; empty until then.
	// +optional
	Thawed string `json:"thawed,omitempty"`
}

// WorkloadReference names what a pod is one of, in the Session's namespace.
type WorkloadReference struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Name       string    `json:"name"`
	UID        types.UID `json:"uid"`
}

// Autoscaler is what set the workload's number and is paused while it is held.
type Autoscaler struct {
	// Group and Resource of it.
	Group    string `json:"group"`
	Resource string `json:"resource"`
	// Name of it, in the Session's namespace.
	Name string `json:"name"`
	// UID of it.
	UID types.UID `json:"uid"`
	// Replicas is 0 if it was paused before already, else 1.
	Replicas int32 `json:"replicas"`
	// Owners of the field that pauses it.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Owners []FieldOwner `json:"owners,omitempty"`
	// Resumed says that it goes on: what it is since is somebody's.
	// +optional
	Resumed bool `json:"resumed,omitempty"`
}

// Application is one of Argo CD's that deploys the workload and does not sync by
// itself while that is held.
type Application struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Enabled is what spec.syncPolicy.automated.enabled was; empty where nothing
	// was said, which is that it syncs.
	// +kubebuilder:validation:Enum="";"true"
	// +optional
	Enabled string `json:"enabled,omitempty"`
	// Owners of that field.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Owners []FieldOwner `json:"owners,omitempty"`
	// Resumed says that it was given back: what it is since is somebody's.
	// +optional
	Resumed bool `json:"resumed,omitempty"`
}

// OldPod is one pod of a held workload whose target container has not been
// proved ended.
type OldPod struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
	// NodeName is empty for a pod that was never bound to a node.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// GraceSeconds is how long the pod may take to end.
	// +optional
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
	// Unconfirmed is why the pod cannot be taken for ended although it is gone;
	// empty while it can be looked at. Once set it stays.
	// +optional
	Unconfirmed string `json:"unconfirmed,omitempty"`
}

// FieldOwner identifies one entry of metadata.managedFields.
type FieldOwner struct {
	// Manager is the field manager's name; it may be empty.
	// +kubebuilder:validation:MaxLength=1024
	Manager string `json:"manager"`
	// Operation is Apply or Update.
	Operation metav1.ManagedFieldsOperationType `json:"operation"`
	// APIVersion that the entry's fields are written in.
	APIVersion string `json:"apiVersion"`
	// Subresource through which the entry was written, "" or "scale".
	// +optional
	Subresource string `json:"subresource,omitempty"`
	// Time of the entry.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// Agent is one incarnation of the program at the far end of the tunnel.
type Agent struct {
	// Incarnation counts the stand-ins of this session, from 1.
	Incarnation int32 `json:"incarnation"`
	// Namespace of the agent's pod; empty for the Session's own. Agents on nodes
	// have a namespace of their own.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// PodName is the stand-in's name, known before the pod is made.
	PodName string `json:"podName"`
	// PodUID is the stand-in's UID once it exists.
	// +optional
	PodUID types.UID `json:"podUID,omitempty"`
	// NodeName is where the stand-in was seen; whether a stand-in that vanished
	// has ended can only be asked of that node.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// Delivery says how the agent's program came into the stand-in's container.
	// Once it is InitContainer it stays that for the session.
	// +kubebuilder:validation:Enum=ImageVolume;InitContainer;OwnImage
	// +optional
	Delivery AgentDelivery `json:"delivery,omitempty"`
	// Port that the agent listens on, on the pod's loopback.
	Port int32 `json:"port"`
	// CertificateFingerprint is the SHA-256 of the agent's public key (PKIX,
	// DER), in lower-case hex.
	CertificateFingerprint string `json:"certificateFingerprint"`
}

// AgentDelivery says how the agent's program gets into a stand-in's container.
type AgentDelivery string

const (
	// DeliveryImageVolume mounts the agent's image as a volume, where the API
	// server, its admission and the node's container runtime take one.
	DeliveryImageVolume AgentDelivery = "ImageVolume"
	// DeliveryInitContainer copies the program into an emptyDir before
	// anything else of the pod starts.
	DeliveryInitContainer AgentDelivery = "InitContainer"
	// DeliveryOwnImage is for a pod that stands in for nothing: the container's
	// image is the agent's.
	DeliveryOwnImage AgentDelivery = "OwnImage"
)

// Silence is how long the Lease has not been renewed, as counted by the
// operator's own clock while its own reads of the Lease succeeded.
type Silence struct {
	// LeaseResourceVersion is the last version of the Lease that was seen.
	LeaseResourceVersion string `json:"leaseResourceVersion,omitempty"`
	// Counted is the silence since that version was first seen.
	Counted metav1.Duration `json:"counted"`
}
