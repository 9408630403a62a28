package config

import "strings"

// yield lets what a lower layer says give way to what a higher one says, where
// both do not go together: a flag wins over a variable, and a variable over the
// file, there too. What one layer says twice stays for Check to refuse.
func (l *loading) yield(f *form) {
	// The other lists that exclude each other are said by files alone.
	if e := &f.Env; len(e.Include) > 0 && len(e.Exclude) > 0 {
		const include, exclude = "feature.env.include", "feature.env.exclude"
		switch {
		case l.overruled(f, exclude, include, "they exclude each other"):
			e.Exclude = nil
		case l.overruled(f, include, exclude, "they exclude each other"):
			e.Include = nil
		}
	}

	// What is said of a takeover goes with it. The other way round it stays an
	// error: no takeover follows from any of these.
	if usual := defaults().ReleaseConnections; f.ReleaseConnections != usual && f.Takeover != TakeoverFreeze &&
		l.overruled(f, "release_connections", l.takenBy, "connections are kept open only where something is frozen") {
		f.ReleaseConnections = usual
	}
	if f.ShareTraffic && f.Takeover == TakeoverScaleDown {
		by := l.takenBy
		if by == keyCopy {
			by = l.heldBy // said below it: a copy alone would share
		}
		if l.overruled(f, "share_traffic", by, "with it the stand-in takes all of the traffic") {
			f.ShareTraffic = false
		}
	}
	if f.Wait && (f.Takeover == TakeoverCopy || f.Takeover == TakeoverNone) &&
		l.overruled(f, "wait", l.takenBy, "what leaves the target as it is waits for nobody") {
		f.Wait = false
	}
}

// overruled says whether a key was said below another one, and tells the person.
func (l *loading) overruled(f *form, key, by, why string) bool {
	if l.layers[key] >= l.layers[by] {
		return false
	}
	what := l.named(key)
	if at := l.saidAt(key, ""); at != what {
		what = at + ": " + what
	}
	f.notice(what + " is overruled by " + l.named(by) + ": " + why)
	return true
}

// named is what somebody said, as it was said: the flag, the variable, or the key
// of the file.
func (l *loading) named(key string) string {
	switch got := l.viper.Get(key).(type) {
	case said:
		switch text, _ := got.node.Value.(string); {
		case got.loose && strings.EqualFold(text, "false"):
			return got.place + "=" + text
		case got.loose:
			return got.place
		case got.by != "":
			return got.by
		case key == "feature.env.exclude": // nothing else makes one
			return "feature.env: false"
		}
	case string:
		name := l.flagOf(key)
		if flag := l.lookup(name); flag != nil && flag.Value.Type() == "bool" && flag.Value.String() == "false" {
			name += "=false"
		}
		return "--" + name
	}
	return strings.TrimSuffix(key, ".enabled")
}

// The keys that say the takeover in the old tool's words.
const (
	keyCopy      = "feature.copy_target.enabled"
	keyScaleDown = "feature.copy_target.scale_down"
)

// undone says whether a higher layer says no to the takeover that a lower one
// says outright: --pause=false over a file's freeze. That leaves none.
func (l *loading) undone(f *form) bool {
	switch f.Takeover {
	case TakeoverFreeze:
		return !f.Pause && l.overruled(f, "takeover", "pause", "nothing is frozen")
	case TakeoverCopy, TakeoverScaleDown:
		return !f.CopyTo && l.overruled(f, "takeover", keyCopy, noStandIn)
	}
	return false
}

// declined is the key by which somebody said, in the highest place, that there is
// no takeover; empty where nobody did.
func (l *loading) declined(f *form) (by string) {
	for _, no := range []struct {
		key string
		on  bool
	}{{"pause", f.Pause}, {keyCopy, f.CopyTo}, {keyScaleDown, f.ScaleDown}} {
		if !no.on && l.layers[no.key] > l.layers[by] {
			by = no.key
		}
	}
	return by
}
