package train

import (
	"fmt"
	"strings"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// ParseArch returns the architecture of a name, in upper or lower case: dit, which an empty name
// also means, mdtv1, mdtv2 or sit. For any other name ok is false.
func ParseArch(name string) (arch dit.Arch, ok bool) {
	if name == "" {
		return dit.ArchDiT, true
	}
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2, dit.ArchSiT} {
		if strings.EqualFold(name, string(arch)) {
			return arch, true
		}
	}
	return "", false
}

// What models are trained for.
const (
	ObjectiveDiffusion = "diffusion" // as DiT and MDT, which "" means
	ObjectiveFlow      = "flow"      // as SiT
)

// ArchOf returns the architecture of a name, as ParseArch reads it, that is trained for an
// objective: a SiT for flows.
func ArchOf(name, objective string) (dit.Arch, error) {
	arch, ok := ParseArch(name)
	switch {
	case !ok:
		return "", fmt.Errorf("arch %s: want dit, mdtv1, mdtv2 or sit", name)
	case objective == "", objective == ObjectiveDiffusion && arch != dit.ArchSiT:
		return arch, nil
	case objective == ObjectiveFlow && (name == "" || arch == dit.ArchSiT):
		return dit.ArchSiT, nil
	case objective == ObjectiveFlow || objective == ObjectiveDiffusion:
		return "", fmt.Errorf("objective %s: a %s is not trained for it", objective, arch)
	}
	return "", fmt.Errorf("objective %s: want %s or %s", objective, ObjectiveDiffusion, ObjectiveFlow)
}

// StartModel returns the model that training on set begins at, its parameters, and the names of its
// classes. If w is nil it is a new one for the images of set. Else it is the model of w; or, if o
// has the architecture of an MDT, a WarmStart of it, if a SiT's, a FlowStart.
func StartModel(w *dit.Weights, o ModelOptions, set *data.Set) (
	m *dit.Model, params []*tensor.Param, names []string, err error,
) {
	if w == nil {
		m, params, err = NewModel(o, ImageKind{Size: set.Size, Channels: set.Channels, Classes: len(set.Classes)})
		if err != nil {
			err = fmt.Errorf("%s: %w", set.Path, err)
		}
		return m, params, set.Classes, err
	}
	if names = w.ClassNames; names == nil && len(set.Classes) == w.NumClasses {
		names = set.Classes
	}
	switch {
	case o.Arch == "" || o.Arch == dit.ArchDiT || o.Arch == dit.ArchSiT && w.Arch == dit.ArchSiT:
		m, params, err = w.Trainable()
	case o.Arch == dit.ArchSiT:
		m, params, err = FlowStart(w, o)
	default:
		m, params, err = WarmStart(w, o)
	}
	return m, params, names, err
}

// StartMask returns the masks to train a model of an architecture with, in updates of batch
// examples: of the given shares, or of the paper's if shares is nil. It is nil for a DiT or a
// SiT.
func StartMask(arch dit.Arch, shares *Shares, batch int) *MaskOptions {
	if arch == dit.ArchDiT || arch == dit.ArchSiT {
		return nil
	}
	o := DefaultMask(arch)
	if shares != nil {
		o.Min, o.Max = shares.Min, shares.Max
	}
	o.GroupBy(batch)
	return &o
}
