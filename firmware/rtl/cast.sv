// A number of one fixed-point type cast into another, as `ap_fixed` does it: rounded, then brought into range.
module cast #(
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic [X_WIDTH-1:0] x,
    output logic [Y_WIDTH-1:0] y
);
    localparam int UP = Y_FRAC > X_FRAC ? Y_FRAC - X_FRAC : 0;
    localparam int DOWN = X_FRAC > Y_FRAC ? X_FRAC - Y_FRAC : 0;
    localparam int WIDE = (X_WIDTH + UP > Y_WIDTH ? X_WIDTH + UP : Y_WIDTH) + 2;

    wire negative = X_SIGNED && x[X_WIDTH-1];
    wire signed [X_WIDTH:0] number = {negative, x};
    wire signed [WIDE-1:0] whole = (WIDE'(number) <<< UP) >>> DOWN;

    // What is cut off, behind two zeros that are there when nothing is.
    wire [DOWN+1:0] rest = (DOWN + 2)'($signed({number, 2'b00}));
    wire half = rest[DOWN+1];
    wire more = |rest[DOWN:0];
    wire carry = Y_ROUNDING == "TRN_ZERO" ? negative && (half || more)
               : Y_ROUNDING == "RND" ? half
               : Y_ROUNDING == "RND_MIN_INF" ? half && more
               : Y_ROUNDING == "RND_CONV" ? half && (more || whole[0])
               : Y_ROUNDING == "RND_ZERO" ? half && (more || negative)
               : Y_ROUNDING == "RND_INF" ? half && (more || !negative)
               : 1'b0;
    wire signed [WIDE-1:0] rounded = whole + $signed(WIDE'(carry));

    localparam int SIGN = Y_SIGNED ? Y_WIDTH - 1 : Y_WIDTH;
    localparam bit SYMMETRIC = Y_SIGNED && Y_OVERFLOW == "SAT_SYM";
    localparam bit [Y_WIDTH-1:0] MIN = Y_WIDTH'(Y_SIGNED) << (Y_WIDTH - 1);
    localparam bit [Y_WIDTH-1:0] MAX = ~MIN;
    localparam bit [Y_WIDTH-1:0] LOW = SYMMETRIC ? -MAX : MIN;
    wire below = rounded[WIDE-1];
    wire lowest = below && rounded[Y_WIDTH-1:0] == MIN;
    wire fits = rounded[WIDE-1:SIGN] == {WIDE - SIGN{below && Y_SIGNED}} && !(SYMMETRIC && lowest);
    wire [Y_WIDTH-1:0] limit = Y_OVERFLOW == "SAT_ZERO" ? '0 : below ? LOW : MAX;
    assign y = fits || Y_OVERFLOW == "WRAP" ? rounded[Y_WIDTH-1:0] : limit;
endmodule
