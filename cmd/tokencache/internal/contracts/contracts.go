// Package contracts reads what users ask of contracts, and says what they hold. It samples no image.
package contracts

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// Levels reads a list of PSNRs in dB, such as 40,45,50.
func Levels(list string) ([]float64, error) {
	var levels []float64
	for _, text := range fields(list) {
		level, err := strconv.ParseFloat(text, 64)
		if err != nil || !(level > 0 && level <= 100) {
			return nil, fmt.Errorf("--min-psnr %s: want decibels, as in 40,45,50", text)
		}
		levels = append(levels, level)
	}
	if len(levels) == 0 {
		return nil, fmt.Errorf("--min-psnr %q: want decibels, as in 40,45,50", list)
	}
	return levels, nil
}

// References reads a list of references; of is the flag that they belong to.
func References(list, of string) ([]reuse.Reference, error) {
	var references []reuse.Reference
	for _, name := range fields(list) {
		to := reuse.Reference(name)
		if to != reuse.ToUncached && to != reuse.ToConverged {
			return nil, fmt.Errorf("--reference %s: of %s want %s, %s or both", name, of, reuse.ToUncached, reuse.ToConverged)
		}
		references = append(references, to)
	}
	return references, nil
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// Lines says what a contract promises.
func Lines(c *reuse.Contract) []string {
	var lines []string
	for _, point := range c.Points {
		text := fmt.Sprintf("%.1f dB", point.PSNR)
		if c.Baseline != nil {
			text += fmt.Sprintf(", and %.1f dB to the converged solution,", point.ConvergedPSNR)
		}
		lines = append(lines, fmt.Sprintf("%.0f %% of the images keep %s at %.2f times fewer FLOPs", 100*c.Coverage, text, point.FLOPs))
	}
	if b := c.Baseline; b != nil {
		lines = append(lines, fmt.Sprintf("the uncached ones keep %.1f dB to the converged solution", b.PSNR))
	}
	return lines
}

// Offers lists the policies whose contract keeps a promise in a sampling, with the highest PSNR of
// each.
func Offers(policies []*reuse.Trained, s tokencache.Sampling, promise reuse.Promise) []string {
	var list []string
	for _, t := range policies {
		if t.Contract == nil || !t.Contract.Samples(s) {
			continue
		}
		if _, ok := t.Contract.For(promise); ok {
			_, high := t.Contract.Range(promise.Reference)
			list = append(list, fmt.Sprintf("%s (up to %.1f dB)", t, high))
		}
	}
	return list
}

// Computed says why a run without a policy keeps any PSNR to the uncached images, and which
// contracts there are not if that is why it has no policy.
func Computed(none *bundle.NoPromiseError) string {
	const text = "everything is computed, so that each image is the uncached run and keeps it"
	if none == nil {
		return text
	}
	return fmt.Sprintf("%s: %v", text, none)
}

// Highest says what keeps a PSNR that no policy's contract does.
func Highest(e *reuse.ContractLimitError) string {
	if e.Reference == reuse.ToConverged {
		return "ask for less"
	}
	return "--policy none computes everything, which keeps any"
}

// Formats returns the flags that give the number formats of a contract, if nothing else differs.
func Formats(e *reuse.ContractMismatchError) string {
	if !e.OfFormats() {
		return ""
	}
	var flags []string
	for _, d := range e.Differences {
		flags = append(flags, formatFlags[d.What]+" "+d.Made)
	}
	return strings.Join(flags, " and ")
}

// formatFlags are the flags of what a contract calls number formats.
var formatFlags = map[string]string{
	reuse.FormatOfBlocks: "--dtype",
	reuse.FormatOfCache:  "--cache-dtype",
}
