// Package tensor runs operations on matrices of float32: it owns the memory that activations live
// in, the workers that compute them, the count of floating-point operations, and cancellation.
//
// It knows rows, samples and weights, and has one file for each operation or family of operations.
// It knows nothing of models, files or randomness; the arithmetic itself is in internal/kernel.
//
// Every operation gives the same bits whatever the number of workers.
//
// # Ownership
//
// A [Graph] owns the memory of the matrices that its operations return. They are valid until
// [Graph.Release] returns to an earlier [Graph.Mark], or until [Graph.Reset]; after that the same
// memory holds other results. Keep a result longer by copying it. [FromSlice] makes a matrix over
// memory of the caller's, which no Graph releases.
//
// Weights own their packed copies. They keep the bias slices that they were made with, and are safe
// for use by several Graphs at once, except while Repack runs.
//
// # Views and aliasing
//
// [Graph.Columns] and [Graph.RowRange] return views: they share memory with their matrix, so a
// write to one shows in the other, and their gradients are parts of its gradient. [Param.Leaf] is a
// view of the parameter's value and gradient. All other operations return new memory, except those
// that work in place.
//
// [Graph.AddInto], [Graph.AddCyclic], [Graph.Activate], [Graph.Conv3x3Add], [Graph.GateResidual]
// and [Graph.LinearGateResidual] work in place: they change their first operand and return it.
// [Graph.LinearInto], [Graph.Conv2DInto], [Graph.MaxPoolInto] and [Graph.MeanPoolInto] write to
// dst, which may be a view, and [Graph.Scatter] to rows of dst. Operands must not share memory with
// a matrix that is written to, except that AddInto may add a matrix to itself.
//
// # Training
//
// Between [Graph.StartTape] and [Graph.Backward] a Graph records the operations whose inputs
// require gradients. Meanwhile Release frees nothing, and GateResidual, LinearGateResidual and
// LinearInto return new memory instead of writing in place. Operations without a backward pass
// panic if an input requires a gradient.
package tensor
