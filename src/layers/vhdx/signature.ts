/** The file type identifier (MS-VHDX 2.2.1). */
export const SIGNATURE = "vhdxfile";
