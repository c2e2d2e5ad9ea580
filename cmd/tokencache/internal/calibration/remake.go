package calibration

import (
	"fmt"
	"path"
	"regexp"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/reuse"
)

// paperFlag is --paper in the command that made a policy.
var paperFlag = regexp.MustCompile(`--paper[ =](\w+)`)

// Remake returns the flags and their values with which calibrate makes a policy of the same kind and
// speed for another model or sampling, as far as the policy says; nil where it does not.
func Remake(t *reuse.Trained) [][2]string {
	version := paperOf(t)
	target, _ := t.Provenance["target"].(string)
	switch {
	case version != "":
		return [][2]string{{"--paper", version}}
	case target != "":
		return [][2]string{{"--target", target}}
	case t.Spec != "":
		return [][2]string{{"--contract", string(t.Spec)}}
	case t.Policy != nil && t.Policy.Ratio > 0:
		return [][2]string{{"--ratio", fmt.Sprint(t.Policy.Ratio)}}
	}
	var flags [][2]string
	if t.Method != "" && t.Policy == nil {
		flags = append(flags, [2]string{"--method", t.Method})
	}
	switch {
	case t.Speed.Wanted > 1:
		return append(flags, [2]string{"--speed", fmt.Sprintf("%gx", t.Speed.Wanted)})
	case t.Speed.Wall > 1:
		return append(flags, [2]string{"--speed", fmt.Sprintf("%.2gx", t.Speed.Wall)})
	}
	return flags
}

// paperOf returns the version of the paper that a policy is, by its name or by the command that made
// it; "" if it is none.
func paperOf(t *reuse.Trained) string {
	command, _ := t.Provenance["command"].(string)
	recorded := paperFlag.FindStringSubmatch(command)
	for _, version := range calibrate.PaperVersions() {
		if path.Base(t.String()) == "paper-"+version || recorded != nil && recorded[1] == version {
			return version
		}
	}
	return ""
}
