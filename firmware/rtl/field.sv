// One field of the register bank that the event uses.
module field #(
    parameter int N_REGISTERS = 1,
    parameter int ADDRESS = 0,
    parameter int SIZE = 1,
    parameter int WIDTH = 1
) (
    // The other fields and the bits above a register's type are not for here.
    // verilator lint_off UNUSEDSIGNAL
    input  logic [2*N_REGISTERS*32-1:0] registers,
    // verilator lint_on UNUSEDSIGNAL
    input  logic bank,
    output logic [SIZE*WIDTH-1:0] y
);
    generate
        for (genvar i = 0; i < SIZE; i++) begin : register
            assign y[i*WIDTH+:WIDTH] = bank ? registers[(N_REGISTERS+ADDRESS+i)*32+:WIDTH]
                                                 : registers[(ADDRESS+i)*32+:WIDTH];
        end
    endgenerate
endmodule
