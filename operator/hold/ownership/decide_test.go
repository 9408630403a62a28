package ownership

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func owner(manager string) v1alpha1.FieldOwner {
	return v1alpha1.FieldOwner{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "apps/v1"}
}

func applier(manager string) v1alpha1.FieldOwner {
	return v1alpha1.FieldOwner{Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "apps/v1"}
}

var (
	team     = []v1alpha1.FieldOwner{owner("team")}
	stranger = []v1alpha1.FieldOwner{owner("stranger")}
	// An update takes the number from everybody, an apply of what is there owns it beside them.
	applied = []v1alpha1.FieldOwner{applier("argocd-controller")}
	both    = []v1alpha1.FieldOwner{owner("team"), applier("argocd-controller")}
	hpa     = []v1alpha1.FieldOwner{{Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "apps/v1", Subresource: "scale"}}
	kedas   = []v1alpha1.FieldOwner{{Manager: "keda", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "apps/v1", Subresource: "scale"}}
	damaged = Observed{UID: "w-1", State: ClaimDamaged, Annotated: true, Damage: v1alpha1.ErrClaimUnreadable, Owners: team}
)

func seen(replicas int32, state ClaimState, owners []v1alpha1.FieldOwner) Observed {
	o := Observed{UID: "w-1", Replicas: replicas, State: state, Owners: owners, Annotated: state != ClaimNone}
	if o.Annotated {
		o.Claim = v1alpha1.Claim{Workload: "w-1", Session: "s-1", Name: "alice-1", Owner: "alice", Replicas: 3}
	}
	return o
}

// replaced is an object that was made from what was read of w-1 while that session
// held it.
func replaced(replicas int32, session types.UID) Observed {
	return Observed{
		UID: "w-2", Replicas: replicas, Owners: stranger, Annotated: true,
		Copied: v1alpha1.Claim{Workload: "w-1", Session: session, Name: "alice-1", Owner: "alice", Replicas: 3}, CopiedOurs: session == "s-1",
	}
}

// scaled is the record of a workload whose autoscaler is paused.
func scaled(replicas int32, owners []v1alpha1.FieldOwner) *v1alpha1.Record {
	return &v1alpha1.Record{UID: "w-1", Replicas: replicas, ReplicaOwners: owners, Autoscalers: []v1alpha1.Autoscaler{{Group: "keda.sh", Resource: "scaledobjects", Name: "worker", UID: "k-1", Replicas: 1}}}
}

func TestDecideFree(t *testing.T) {
	for name, c := range map[string]struct {
		seen  Observed
		alive bool
		want  Free
	}{
		"no claim":                             {seen(3, ClaimNone, team), false, FreeToTake},
		"no claim, at zero":                    {seen(0, ClaimNone, team), false, FreeToTake},
		"our own":                              {seen(3, ClaimOurs, team), false, FreeToTake},
		"another's, alive, held":               {seen(0, ClaimForeign, team), true, HeldByAnother},
		"another's, alive, not yet held":       {seen(3, ClaimForeign, team), true, HeldByAnother},
		"another's, gone, left at zero":        {seen(0, ClaimForeign, team), false, FreeAfterRestore},
		"another's, gone, made another number": {Observed{UID: "w-1", Replicas: 2, State: ClaimForeign, OwnNumber: true, Claim: v1alpha1.Claim{Replicas: 3}}, false, FreeAfterRestore},
		"another's, gone, somebody scaled":     {seen(3, ClaimForeign, team), false, FreeToTake},
		"unreadable, at zero":                  {damaged, false, FreeUnknown},
		"unreadable, but it has its number on": {Observed{UID: "w-1", Replicas: 3, State: ClaimDamaged, Annotated: true}, false, FreeToTake},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DecideFree(c.seen, c.alive); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestRemember(t *testing.T) {
	three := &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: team}
	for name, c := range map[string]struct {
		record *v1alpha1.Record
		seen   Observed
		at     Progress
		want   *v1alpha1.Record
	}{
		"first":                                    {nil, seen(3, ClaimNone, team), NotBegun, three},
		"first, at zero":                           {nil, seen(0, ClaimNone, team), NotBegun, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: team}},
		"first, nobody owns the number":            {nil, seen(1, ClaimNone, nil), NotBegun, &v1alpha1.Record{UID: "w-1", Replicas: 1}},
		"the status lost it, the claim has it":     {nil, seen(0, ClaimOurs, team), NotBegun, three},
		"again":                                    {three, seen(3, ClaimOurs, team), NotBegun, three},
		"changed between record and hold":          {three, seen(5, ClaimOurs, stranger), NotBegun, &v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: stranger}},
		"our zero, before it was noted":            {three, seen(0, ClaimOurs, nil), Begun, three},
		"our zero":                                 {three, seen(0, ClaimOurs, team), Held, three},
		"our zero, the claim stripped off":         {three, seen(0, ClaimNone, team), Held, three},
		"our zero, the claim damaged":              {three, damaged, Held, three},
		"somebody's number":                        {three, seen(5, ClaimOurs, stranger), Held, &v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: stranger, ChangedBy: "stranger"}},
		"somebody's number, claim gone too":        {three, seen(5, ClaimNone, stranger), Held, &v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: stranger, ChangedBy: "stranger"}},
		"the same number, by somebody":             {three, seen(3, ClaimOurs, stranger), Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: stranger, ChangedBy: "stranger"}},
		"a number without a trace":                 {three, seen(5, ClaimOurs, nil), Held, &v1alpha1.Record{UID: "w-1", Replicas: 5, ChangedBy: "unknown"}},
		"the autoscaler's":                         {three, seen(5, ClaimOurs, hpa), Held, three},
		"what KEDA still wrote":                    {scaled(0, team), seen(1, ClaimOurs, kedas), Held, scaled(0, team)},
		"what KEDA still wrote, nobody's":          {scaled(0, nil), seen(1, ClaimOurs, nil), Held, scaled(0, nil)},
		"a person's, of what KEDA scales":          {scaled(0, team), seen(2, ClaimOurs, stranger), Held, &v1alpha1.Record{UID: "w-1", Replicas: 2, ReplicaOwners: stranger, ChangedBy: "stranger", Autoscalers: scaled(0, nil).Autoscalers}},
		"the autoscaler wakes what it has at zero": {&v1alpha1.Record{UID: "w-1", ReplicaOwners: team}, seen(2, ClaimOurs, hpa), Held, &v1alpha1.Record{UID: "w-1", Replicas: 2, ReplicaOwners: hpa, ChangedBy: "kube-controller-manager"}},
		"KEDA's":  {three, seen(5, ClaimOurs, []v1alpha1.FieldOwner{{Manager: "keda", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "apps/v1", Subresource: "scale"}}), Held, three},
		"our own": {three, Observed{UID: "w-1", Replicas: 3, State: ClaimOurs, OwnNumber: true}, Held, three},
		"what came of our zero, the hold not yet noted":    {three, Observed{UID: "w-1", Replicas: 2, State: ClaimOurs, OwnNumber: true, Owed: team}, Begun, three},
		"somebody's zero after the claim, before the hold": {three, seen(0, ClaimOurs, stranger), NotBegun, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: stranger}},
		"the owner's zero before the hold":                 {three, seen(0, ClaimOurs, team), NotBegun, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: team}},
		"somebody updates it to zero":                      {three, seen(0, ClaimOurs, stranger), Held, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: stranger, ChangedBy: "stranger"}},
		"an update to zero, then an apply of it":           {three, seen(0, ClaimOurs, slices.Concat(stranger, applied)), Held, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: slices.Concat(stranger, applied), ChangedBy: "stranger"}},
		"somebody applies our zero":                        {three, seen(0, ClaimOurs, both), Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: both}},
		"somebody applies our zero, it is known":           {&v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: both}, seen(0, ClaimOurs, both), Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: both}},
		"our zero is applied after another's number":       {&v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: team, ChangedBy: "team"}, seen(0, ClaimOurs, both), Held, &v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: both, ChangedBy: "team"}},
		"our zero is applied before ownership is back":     {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true, OwnNumber: true, Owners: applied, Owed: team}, Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: slices.Concat(applied, team)}},
		"the owner is made into who applies":               {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true, Owners: applied}, Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: applied}},
		"our zero is applied, nobody had owned it":         {&v1alpha1.Record{UID: "w-1", Replicas: 3}, seen(0, ClaimOurs, applied), Held, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: applied}},
		"a zero is applied before ours, the hold begun":    {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true, Owners: applied}, Begun, &v1alpha1.Record{UID: "w-1", ReplicaOwners: applied, ChangedBy: "argocd-controller"}},
		"our zero is applied, the hold not yet noted":      {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true, OwnNumber: true, Owners: applied, Owed: team}, Begun, &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: slices.Concat(applied, team)}},
		"somebody asks for zero, the hold not yet noted":   {three, seen(0, ClaimOurs, stranger), Begun, &v1alpha1.Record{UID: "w-1", Replicas: 0, ReplicaOwners: stranger, ChangedBy: "stranger"}},
		"the autoscaler's zero":                            {three, seen(0, ClaimOurs, hpa), Held, three},
		"a zero by way of another number":                  {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true}, Held, &v1alpha1.Record{UID: "w-1", ChangedBy: "unknown"}},
		"the managed fields were reset":                    {three, Observed{UID: "w-1", State: ClaimOurs}, Held, three},
		"ownership not yet given back":                     {three, Observed{UID: "w-1", State: ClaimOurs, OwnEntry: true, OwnNumber: true}, Held, three},
		"all owners summed up as one":                      {three, seen(0, ClaimOurs, []v1alpha1.FieldOwner{owner("before-first-apply")}), Held, three},
		"owners summed up by the API server":               {three, seen(0, ClaimOurs, []v1alpha1.FieldOwner{owner("ancient-changes")}), Held, three},
		"the number left out":                              {three, Observed{UID: "w-1", Unset: true, State: ClaimOurs, OwnEntry: true}, Held, &v1alpha1.Record{UID: "w-1", Replicas: 3}},
		"the number left out, nobody had owned it":         {&v1alpha1.Record{UID: "w-1", Replicas: 3}, Observed{UID: "w-1", Unset: true, State: ClaimOurs, OwnEntry: true}, Held, &v1alpha1.Record{UID: "w-1", Replicas: 3}},
		"the number left out of another's":                 {&v1alpha1.Record{UID: "w-1", Replicas: 5, ReplicaOwners: team, ChangedBy: "team"}, Observed{UID: "w-1", Unset: true, State: ClaimOurs, OwnEntry: true}, Held, &v1alpha1.Record{UID: "w-1", Replicas: 5, ChangedBy: "team"}},
		"made anew from what was held":                     {three, replaced(0, "s-1"), Held, &v1alpha1.Record{UID: "w-2", Replicas: 3, ReplicaOwners: stranger}},
		"made anew so, the hold begun":                     {&v1alpha1.Record{UID: "w-2", Replicas: 3, ReplicaOwners: stranger}, replaced(0, "s-1"), Begun, &v1alpha1.Record{UID: "w-2", Replicas: 3, ReplicaOwners: stranger}},
		"made anew so, with a number of its own":           {three, replaced(5, "s-1"), Held, &v1alpha1.Record{UID: "w-2", Replicas: 5, ReplicaOwners: stranger}},
		"made anew from what another session held":         {three, replaced(0, "s-2"), Held, &v1alpha1.Record{UID: "w-2", ReplicaOwners: stranger}},
		"made anew": {&v1alpha1.Record{UID: "w-0", Replicas: 9}, seen(3, ClaimNone, team), Held, three},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := Remember(c.record, c.seen, c.at)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := !cmp.Equal(c.record, got); changed != want {
				t.Errorf("changed is %v, want %v", changed, want)
			}
			// A crash after the save finds nothing more to save. An object that was
			// made anew is no longer held, one that is at zero with our claim is:
			// that is saved with its record.
			at := c.at
			switch {
			case c.record == nil && c.seen.State == ClaimOurs:
				at = Begun
			case c.record != nil && c.record.UID != got.UID && c.seen.CopiedZero():
				at = Begun
			case c.record != nil && c.record.UID != got.UID:
				at = NotBegun
			}
			if again, changed := Remember(got, c.seen, at); changed {
				t.Errorf("a second look changes the record again: %+v", again)
			}
		})
	}
}

func TestDecideReturn(t *testing.T) {
	three := &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: team}
	back := &v1alpha1.Record{UID: "w-1", Replicas: 3, ReplicaOwners: team, Returned: true}
	for name, c := range map[string]struct {
		record *v1alpha1.Record
		seen   Observed
		held   bool
		want   Return
	}{
		"held":                      {three, seen(0, ClaimOurs, team), true, ReturnNumber},
		"held, the record was zero": {&v1alpha1.Record{UID: "w-1"}, seen(0, ClaimOurs, team), true, ReturnNumber},
		"somebody asked for zero at the last moment":   {three, seen(0, ClaimOurs, stranger), true, ReturnClaim},
		"our zero was applied at the last moment":      {three, seen(0, ClaimOurs, both), true, ReturnNumber},
		"our zero was applied, the claim stripped off": {three, seen(0, ClaimNone, both), true, ReturnNumber},
		"restored before, then a zero was applied":     {three, seen(0, ClaimNone, applied), true, ReturnNothing},
		"the number left out at the last moment":       {three, Observed{UID: "w-1", Unset: true, State: ClaimOurs, OwnEntry: true, Annotated: true}, true, ReturnNumber},
		"claimed, the hold never begun":                {three, seen(3, ClaimOurs, team), false, ReturnClaim},
		"claimed at zero, never held":                  {three, seen(0, ClaimOurs, stranger), false, ReturnClaim},
		"hold begun, the patch never made":             {three, seen(3, ClaimOurs, team), true, ReturnClaim},
		"made another number, with the claim":          {three, Observed{UID: "w-1", Replicas: 2, State: ClaimOurs, Annotated: true, OwnNumber: true, Owed: team}, true, ReturnNumber},
		"made another number, the claim gone":          {three, Observed{UID: "w-1", Replicas: 2, OwnNumber: true, Owed: team}, true, ReturnNumber},
		"made another number, of a zero":               {&v1alpha1.Record{UID: "w-1"}, Observed{UID: "w-1", Replicas: 2, OwnNumber: true}, true, ReturnNumber},
		"made another number, then applied by others":  {three, Observed{UID: "w-1", Replicas: 2, OwnNumber: true, Owners: applied}, true, ReturnNothing},
		"put back, ownership not yet":                  {three, Observed{UID: "w-1", Replicas: 3, OwnNumber: true, Owed: team}, true, ReturnNothing},
		"noted as back, then remade":                   {back, Observed{UID: "w-1", Replicas: 2, OwnNumber: true}, true, ReturnNothing},
		"somebody scaled at the last moment":           {three, seen(5, ClaimOurs, stranger), true, ReturnClaim},
		"the claim stripped off":                       {three, seen(0, ClaimNone, team), true, ReturnNumber},
		"the claim stripped off before ownership back": {three, Observed{UID: "w-1", OwnNumber: true}, true, ReturnNumber},
		"restored before, then somebody's zero":        {three, seen(0, ClaimNone, stranger), true, ReturnNothing},
		"restored before":                              {three, seen(3, ClaimNone, team), true, ReturnNothing},
		"put back, then its owners' zero":              {back, seen(0, ClaimNone, team), true, ReturnNothing},
		"put back, then made again from what was held": {back, seen(0, ClaimOurs, team), true, ReturnNumber},
		"put back, the claim comes with a number":      {back, seen(3, ClaimOurs, team), true, ReturnClaim},
		"zero restored before":                         {&v1alpha1.Record{UID: "w-1", ReplicaOwners: team}, seen(0, ClaimNone, team), true, ReturnNothing},
		"claim damaged, the status remembers":          {three, damaged, true, ReturnNumber},
		"claim damaged, number is on":                  {three, Observed{UID: "w-1", Replicas: 3, State: ClaimDamaged, Annotated: true}, true, ReturnClaim},
		"claimed by another":                           {three, seen(0, ClaimForeign, team), true, ReturnNothing},
		"other object":                                 {&v1alpha1.Record{UID: "w-0", Replicas: 3}, seen(0, ClaimNone, team), true, ReturnNothing},
		"nothing recorded":                             {nil, seen(0, ClaimNone, team), false, ReturnNothing},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DecideReturn(c.record, c.seen, c.held); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// What has no number is not at zero.
func TestKeeps(t *testing.T) {
	three := &v1alpha1.Record{UID: "w-1", Replicas: 3}
	held := seen(0, ClaimOurs, team)
	if !Keeps(three, held) {
		t.Error("at zero, it is not as it should be")
	}
	if held.Unset = true; Keeps(three, held) {
		t.Error("without a number, it is as it should be")
	}
}

func TestDecideSweep(t *testing.T) {
	copied := seen(0, ClaimNone, team)
	copied.Annotated = true
	for name, c := range map[string]struct {
		seen Observed
		want Return
		err  error
	}{
		"left at zero":                   {seen(0, ClaimForeign, team), ReturnNumber, nil},
		"somebody scaled":                {seen(2, ClaimForeign, team), ReturnClaim, nil},
		"made another number":            {Observed{UID: "w-1", Replicas: 2, State: ClaimForeign, Annotated: true, OwnNumber: true, Claim: v1alpha1.Claim{Replicas: 3}}, ReturnNumber, nil},
		"another object's claim, copied": {copied, ReturnClaim, nil},
		"unreadable at zero":             {damaged, ReturnNothing, v1alpha1.ErrClaimUnreadable},
		"unreadable with a number":       {Observed{UID: "w-1", Replicas: 3, State: ClaimDamaged, Annotated: true}, ReturnClaim, nil},
		"nothing there":                  {seen(3, ClaimNone, team), ReturnNothing, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecideSweep(c.seen)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	early, late := metav1.Unix(100, 0), metav1.Unix(200, 0)
	a, b := owner("a"), owner("b")
	a.Time, b.Time = &late, &early
	if got := Writer(append(team, b, a)); got != "a" {
		t.Errorf("got %q, want the latest, a", got)
	}
	if got := Writer(nil); got != "" {
		t.Errorf("got %q of nobody", got)
	}
}
