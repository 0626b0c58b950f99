// Matrices of eight by eight that the lanes of a subgroup hold together, f16 into f32.
// provides: MatrixA, MatrixB, MatrixC
// expects:  nothing (device feature EXPERIMENTAL_COOPERATIVE_MATRIX)

alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
